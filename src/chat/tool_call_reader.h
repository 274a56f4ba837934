#pragma once
// Reads one tool call as the model writes it: what stands between the call's markers, in pieces of
// any size. Used by OutputParser alone; each way of writing calls has a file of its own.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "chat/chat_tools.h"
#include "chat/output_parser.h"

namespace floe {

class ToolCallReader {
 public:
  enum class Status : uint8_t {
    undecided,  // may still become a call, or not
    call,       // a call of a declared function: name() and arguments are certain
    text,       // no call
  };

  virtual ~ToolCallReader() = default;

  // Total over any text. Fragments of the arguments, a JSON object, are appended to `arguments`
  // once the status is call; together they are the whole.
  virtual void push(std::string_view text, std::string& arguments) = 0;
  // One of the format's own markers inside a call (arg_key and so on).
  virtual void push_marker(OutputParser::Marker marker, std::string& arguments) = 0;
  virtual void finish(ToolCallEnd end, std::string& arguments) = 0;

  // Where markers are spelled out: whether this one would be text here, inside a string.
  virtual bool is_text_here(OutputParser::Marker marker) const = 0;

  Status status() const { return status_; }
  const std::string& name() const { return name_; }
  // The arguments came to their end, so that they are a whole object.
  bool complete() const { return complete_; }

 protected:
  explicit ToolCallReader(ChatTools tools) : tools_(std::move(tools)) {}

  const ChatTools tools_;
  Status status_ = Status::undecided;
  std::string name_;
  bool complete_ = false;
};

// {"name": ..., "arguments": {...}}. The members may come in any order; "parameters" is taken for
// "arguments". The arguments are given as the model wrote them, blanks and all: sent back, they
// give the same tokens again. What follows the object is dropped.
std::unique_ptr<ToolCallReader> make_json_call_reader(ChatTools tools);

// name, then <arg_key>key</arg_key><arg_value>value</arg_value> for each argument. Values are bare;
// the function's schema tells strings from other JSON (ArgumentType).
std::unique_ptr<ToolCallReader> make_glm_call_reader(ChatTools tools);

}  // namespace floe
