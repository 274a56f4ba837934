#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace floe {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::runtime:
      return 1;
    case ErrorKind::usage:
      return 2;
    case ErrorKind::model:
      return 3;
    case ErrorKind::memory:
      return 4;
    case ErrorKind::quality:
      return 5;
  }
  return 1;
}

void panic(const char* file, int line, const char* what) {
  std::fprintf(stderr, "floe: internal error at %s:%d: %s does not hold\n", file, line, what);
  std::abort();
}

}  // namespace floe
