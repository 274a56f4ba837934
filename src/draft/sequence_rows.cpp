#include "draft/sequence_rows.h"

namespace floe {

const char* to_string(DraftSource source) {
  switch (source) {
    case DraftSource::prompt_lookup:
      return "ngram";
    case DraftSource::prediction:
      return "prediction";
    case DraftSource::mtp:
      return "mtp";
    case DraftSource::draft_model:
      return "draft";
    case DraftSource::eagle3:
      return "eagle3";
  }
  return "";
}

}  // namespace floe
