#pragma once
// What an answer says, put together as it becomes certain: text into content or reasoning, calls
// into tool calls. Used by the readers of answers.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace floe {

// A piece of a tool call.
struct ToolCallDelta {
  uint32_t index = 0;     // of the call among those of its answer
  std::string name;       // with the first piece of each call; else empty
  std::string arguments;  // what follows those said before; all together a JSON object
};

// What one step added. Concatenating all deltas gives the same as reading the whole text at once.
struct OutputDelta {
  std::string reasoning_content;
  std::string content;
  std::vector<ToolCallDelta> tool_calls;

  bool empty() const { return reasoning_content.empty() && content.empty() && tool_calls.empty(); }
};

// Line breaks behind a marker belong to the markup, and so do blanks in front of one: they wait
// until more text shows that they are none.
class AnswerWriter {
 public:
  // continues: the answer goes on with a text that was begun before, so that blanks at its start
  // are part of it.
  AnswerWriter(bool in_reasoning, bool continues)
      : in_reasoning_(in_reasoning),
        at_section_start_(in_reasoning && !continues),
        content_seen_(!in_reasoning && continues) {}

  // Where the following goes; it must last until the next call of this.
  void into(OutputDelta& delta) { delta_ = &delta; }

  void enter_reasoning() { enter(true); }
  void enter_content() { enter(false); }
  // Of the section at hand.
  void text(std::string_view text);
  // The function of the next call is known.
  void begin_call(std::string_view name);
  void arguments(std::string_view text);
  // The arguments of the present call are whole.
  void end_call() { ++n_complete_calls_; }
  // Blanks at the end so far are not part of the text.
  void drop_blanks() { held_blanks_.clear(); }
  // The end of the answer is no marker: blanks in front of it are part of the content.
  void finish();

  bool in_reasoning() const { return in_reasoning_; }
  bool content_seen() const { return content_seen_; }
  bool reasoning_seen() const { return reasoning_seen_; }
  uint32_t n_calls() const { return n_calls_; }
  uint32_t n_complete_calls() const { return n_complete_calls_; }

 private:
  void enter(bool reasoning);

  OutputDelta* delta_ = nullptr;
  std::string held_blanks_;
  bool in_reasoning_;
  bool at_section_start_;
  bool content_seen_;
  bool reasoning_seen_ = false;
  uint32_t n_calls_ = 0;
  uint32_t n_complete_calls_ = 0;
};

}  // namespace floe
