#pragma once
#include "base/options.h"
#include "chat/chat_template.h"

namespace floe {

// The flags that say which chat template makes prompts.
struct ChatFlags {
  ChatTemplateChoice choice;

  void add_to(OptionTable& table);
};

}  // namespace floe
