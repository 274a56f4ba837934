#pragma once
// What a chat template takes and does. Found out by probe_template() when a model is loaded.
#include <string>
#include <vector>

namespace floe {

// The shapes of a conversation in which templates differ. The defaults are those of most.
struct TemplateShapes {
  // A call's arguments as an object, not as the text that the model wrote. Text that is no object
  // stays text, if the template stands that, else becomes the object's one member.
  bool arguments_as_objects = true;
  bool stands_arguments_as_text = true;
  // The content of a message that only calls tools: null, or an empty string.
  bool null_content = false;
  bool content_as_parts = false;  // [{"type": "text", "text": ...}]
  bool ids_of_nine = false;       // a call's id has nine characters, as Mistral wants it
  bool has_developer = false;     // else a developer is a system message
  // A message that calls tools may say why in its content or its reasoning, but not in both.
  bool one_text_with_calls = false;
  std::string reasoning_field = "reasoning_content";
};

struct TemplateTraits {
  TemplateShapes shapes;

  std::string fault;  // why a plain question cannot be rendered; empty: it can
  bool supports_tools = false;
  bool supports_system = false;
  bool has_reasoning = false;  // it opens reasoning, or has a place for earlier reasoning
  bool thinks_by_default = false;
  bool can_switch_thinking = false;  // enable_thinking changes the prompt
  // Why a turn's prompt may not begin with the prompt of the turn before, so that the prefix cache
  // finds less; in plain words, for people. Empty: it always does.
  std::vector<std::string> prefix_breaks;
};

}  // namespace floe
