#pragma once
// Reads one block of tool calls, symbol by symbol, from behind what opened it. Each layout has a
// reader in a file of its own. Used by the readers of answers alone.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "chat/answer_symbols.h"
#include "chat/answer_writer.h"
#include "chat/chat_tools.h"

namespace floe {

// How the text of a block came to its end.
enum class CallsEnd : uint8_t {
  marked,  // by its closing marker
  model,   // the model ended its answer, or began another block
  cut,     // by a limit or a stop string: more would have come
};

// The texts of a format that its readers look for, without the blanks at their ends.
struct CallTexts {
  explicit CallTexts(const AnswerFormat& format);

  const AnswerFormat& format;
  Symbols begin, before_name, after_name, after_arguments, end;
  Symbols before_key, after_key, before_value, before_json_value, after_value, before_id;
  // after_value with a line break in front, where the format has one there; else empty.
  Symbols line_and_after_value;

  void append(Symbol symbol, std::string& out) const { append_symbol(symbol, format.markers, out); }
  std::string text_of(std::u16string_view symbols) const;
};

// Total over any symbols. A call is one from the moment at which its function, a declared one, and
// the beginning of its arguments are known: from there on its text comes out as arguments, whatever
// follows. What is no call comes out as text of the content, markup included.
class ToolCallReader {
 public:
  // What is kept for that text is bounded.
  static constexpr size_t kMaxUndecidedBytes = size_t{4} << 20;

  enum class Took : uint8_t {
    it,       // the block goes on
    last,     // the block ends with this symbol
    nothing,  // the block ended before this symbol
  };

  virtual ~ToolCallReader() = default;

  Took push(Symbol symbol);
  // The end of the block otherwise; `marker`: what it was marked by, as text.
  void finish(CallsEnd end, std::string_view marker);

 protected:
  // opening: the text that opened the block, content again should this be no call.
  ToolCallReader(const CallTexts& texts, ChatTools tools, std::string opening, AnswerWriter& out)
      : texts_(texts), tools_(std::move(tools)), out_(out), undecided_(std::move(opening)) {}

  // Which texts mean something from here on: see matched().
  void look_for(std::initializer_list<const Symbols*> texts) { matcher_.look_for(texts); }

  // Inside a string, where no text means anything.
  virtual bool is_raw() const { return false; }
  // The next symbol that belongs to none of the texts looked for. Other than Took::it only where
  // nothing is looked for.
  virtual Took take(Symbol symbol) = 0;
  // One of the texts looked for: a member of texts_, told by its address.
  virtual Took matched(const Symbols& text) = 0;
  // The block ends here: completes the call at hand as far as `end` says. `held`: the beginning of
  // a text looked for, which did not go on.
  virtual void end_block(CallsEnd end, const Symbols& held) = 0;
  // Behind a call that was text, where another may follow.
  virtual void next_call() {}

  // What was read since the last call is text, and so is what follows, up to the end of this call
  // or of the block.
  Took give_up();
  // The same where `text` was just matched, and may be that end.
  Took give_up(const Symbols& text);
  // Begins the call of this function, if it is declared.
  bool begin_call(std::string_view name);
  void end_call();
  bool in_call() const { return tool_ != nullptr; }
  bool is_text() const { return is_text_; }
  bool has_calls() const { return has_calls_; }
  // What was read since the last call says nothing.
  void forget() { undecided_.clear(); }
  // But for this.
  void forget(const Symbols& but) { undecided_ = texts_.text_of(but); }

  const CallTexts& texts_;
  const ChatTools tools_;
  AnswerWriter& out_;
  const ChatTool* tool_ = nullptr;  // of the call at hand

 private:
  Took take_text(const Symbols& text);

  SymbolMatcher matcher_;
  std::string undecided_;  // what was read since the last call
  bool is_text_ = false;
  bool has_calls_ = false;
};

std::unique_ptr<ToolCallReader> make_json_object_reader(const CallTexts& texts, ChatTools tools,
                                                        std::string opening, AnswerWriter& out);
std::unique_ptr<ToolCallReader> make_json_arguments_reader(const CallTexts& texts, ChatTools tools,
                                                           std::string opening, AnswerWriter& out);
std::unique_ptr<ToolCallReader> make_tagged_reader(const CallTexts& texts, ChatTools tools,
                                                   std::string opening, AnswerWriter& out);
std::unique_ptr<ToolCallReader> make_braces_reader(const CallTexts& texts, ChatTools tools,
                                                   std::string opening, AnswerWriter& out);
std::unique_ptr<ToolCallReader> make_python_reader(const CallTexts& texts, ChatTools tools,
                                                   std::string opening, AnswerWriter& out);

}  // namespace floe
