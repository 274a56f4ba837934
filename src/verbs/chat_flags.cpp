#include "verbs/chat_flags.h"

namespace floe {

void ChatFlags::add_to(OptionTable& table) {
  table.add("--chat-template", "NAME|TEXT", &choice.name_or_text,
            "chat template: " + builtin_chat_template_names() +
                ", or a Jinja template as text; not given: the model's own, or else a built-in "
                "one that fits the vocabulary");
  table.add("--chat-template-file", "FILE", &choice.file, "the same from a file");
  table.add("--chat-template-kwargs", "JSON", &choice.kwargs,
            "variables for the chat template, under those of a request's chat_template_kwargs");
}

}  // namespace floe
