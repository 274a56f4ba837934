#pragma once
// Conversations to prompts, through the Jinja template that comes with the model, that the user
// names, or that is built in: one path for all of them.
//
// The template's author writes the markers, and they become tokens; what people, tools and models
// wrote is encoded without special tokens, so that no field of any message can forge a turn, a call
// or the end of the reasoning.
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "chat/chat_message.h"
#include "chat/template_traits.h"
#include "text/tokenizer.h"

namespace floe {

class GgufMetadata;

struct ChatTemplateSource {
  std::string name;      // of a built-in one, or where it came from: for people
  std::string text;      // the template
  std::string tool_use;  // for requests with tools, where the model has one of its own; or empty
  // Variables of every conversation, under those of its request. Null: none.
  std::shared_ptr<const Json> kwargs;
};

// A built-in one by name. nullopt: there is none of that name.
std::optional<ChatTemplateSource> builtin_chat_template(std::string_view name);
// "chatml, floe-nano, ...": for messages.
std::string builtin_chat_template_names();

// What the user said about the template.
struct ChatTemplateChoice {
  std::string name_or_text;  // of a built-in one, or a template as text; empty: nothing was said
  std::string file;          // empty: none
  std::string kwargs;        // a JSON object of variables for every conversation; empty: none
  // Of the model's file. A chat_template.jinja there is used where the file itself has none.
  std::string folder;

  bool is_made() const {
    return !file.empty() || (!name_or_text.empty() && name_or_text != "auto");
  }
};

// Whether `kwargs` may stand for a template's variables: an object that names none of those that
// are the request's or the model's own, with the right types where these are known.
// ErrorKind::usage with the member's name in front.
Result<void> check_template_kwargs(const Json& kwargs);

// In this order: what was chosen; the model's own (tokenizer.chat_template, and the one named
// tool_use if the file's metadata are given, or chat_template.jinja beside the file); a built-in
// one that fits the vocabulary's special tokens. ErrorKind::usage where the choice makes no sense;
// ErrorKind::model, saying what was looked for, where nothing fits: chat is then unsupported for
// this model, completions still work.
Result<ChatTemplateSource> find_chat_template(const ChatTemplateChoice& choice,
                                              const Tokenizer& tokenizer,
                                              const GgufMetadata* metadata = nullptr);

// Immutable and cheap to copy.
class ChatTemplate {
 public:
  // The tokenizer must outlive it. ErrorKind::model with line and construct where the template is
  // none, or not in the language (template/template.h).
  static Result<ChatTemplate> create(ChatTemplateSource source, const Tokenizer& tokenizer);
  // find_chat_template() and create(), whose error is ErrorKind::usage where the template was
  // chosen.
  static Result<ChatTemplate> load(const ChatTemplateChoice& choice, const Tokenizer& tokenizer,
                                   const GgufMetadata* metadata = nullptr);

  // ErrorKind::usage, naming the message, when a role is unknown, messages are empty, or the last
  // one cannot go on though it is to; with the template's own words where it refuses the
  // conversation. With limits the prompt may be left unfinished, as ChatPrompt::end says.
  Result<ChatPrompt> prompt(std::span<const ChatMessage> messages, const ChatOptions& options,
                            const EncodeLimits& limits = {}) const;
  // The same prompt as text, for /apply-template. Markers and message text look alike here.
  Result<std::string> render(std::span<const ChatMessage> messages, const ChatOptions& options,
                             const std::function<bool()>& cancelled = {}) const;

  const ChatTemplateSource& source() const;
  // Of the template for requests without tools.
  const TemplateTraits& traits() const;
  bool supports_tools() const;
  // Whether an answer to this request is meant to begin with reasoning.
  bool thinks(const ChatOptions& options) const;

 private:
  struct Loaded;
  struct Prompt;
  explicit ChatTemplate(std::shared_ptr<const Loaded> loaded) : loaded_(std::move(loaded)) {}
  Result<Prompt> make(std::span<const ChatMessage> messages, const ChatOptions& options,
                      const std::function<bool()>& cancelled) const;

  std::shared_ptr<const Loaded> loaded_;
};

}  // namespace floe
