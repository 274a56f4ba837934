#pragma once
// Splits the symbols of an answer into reasoning, content and calls. Used by OutputParser alone:
// one implementation for answers in which markers stand in a text, one for gpt-oss, whose answers
// are messages with a header each.
#include <memory>

#include "chat/answer_symbols.h"
#include "chat/answer_writer.h"
#include "chat/tool_call_reader.h"

namespace floe {

struct AnswerStart {
  bool in_reasoning = false;
  // The answer goes on with a text that was begun before.
  bool continues = false;
};

class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  AnswerReader(const AnswerReader&) = delete;
  AnswerReader& operator=(const AnswerReader&) = delete;

  // Total over any symbols.
  virtual void push(Symbol symbol) = 0;
  // cut: by a limit or a stop string, not by the model.
  virtual void finish(bool cut) = 0;

  AnswerWriter& out() { return out_; }
  const AnswerWriter& out() const { return out_; }

 protected:
  AnswerReader(AnswerFormat format, ChatTools tools, const AnswerStart& start)
      : format_(std::move(format)),
        texts_(format_),
        tools_(std::move(tools)),
        out_(start.in_reasoning, start.continues) {}

  bool takes_calls() const {
    return format_.calls.exists() && tools_ != nullptr && !tools_->empty();
  }

  const AnswerFormat format_;
  const CallTexts texts_;
  const ChatTools tools_;
  AnswerWriter out_;
};

std::unique_ptr<AnswerReader> make_marked_reader(AnswerFormat format, ChatTools tools,
                                                 const AnswerStart& start);
std::unique_ptr<AnswerReader> make_harmony_reader(AnswerFormat format, ChatTools tools,
                                                  const AnswerStart& start);

}  // namespace floe
