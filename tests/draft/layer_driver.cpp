#include "draft/layer_driver.h"

#include <algorithm>
#include <array>

#include "chat/chat_template.h"
#include "fuzz/allocation_count.h"
#include "repo_path.h"
#include "store/gguf.h"
#include "text/tokenizer.h"

namespace floe::test {

std::string LayerDriver::model_path() {
  return repo_path("models/floe-nano.gguf");
}

std::vector<std::vector<int32_t>> LayerDriver::prompts() {
  const char* const questions[] = {
      "Repeat this text:\nThe ship left the harbour before dawn, and by the time the sun stood "
      "over the hills there was nothing to be seen of it but a thin line of smoke. The old keeper "
      "of the light wrote the hour into his book, put out the lamp and went down to his breakfast.",
      "Write a Python function that reverses a string.",
      "Remove the key \"age\".\n{\"name\": \"Anna\", \"age\": 31, \"city\": \"Oslo\"}"};
  auto file = GgufFile::open(model_path());
  FLOE_CHECK(file.ok());
  auto tokenizer = Tokenizer::load(*file);
  FLOE_CHECK(tokenizer.ok());
  auto format = ChatTemplate::load({}, **tokenizer);
  FLOE_CHECK(format.ok());
  std::vector<std::vector<int32_t>> prompts;
  for (const char* question : questions) {
    std::vector<ChatMessage> messages(1);
    messages[0].role = "user";
    messages[0].content = question;
    ChatOptions options;
    options.enable_thinking = false;
    auto prompt = format->prompt(messages, options);
    FLOE_CHECK(prompt.ok());
    prompts.push_back(prompt->ids);
  }
  return prompts;
}

std::unique_ptr<LayerDriver> LayerDriver::start(uint32_t max_step_rows,
                                                std::optional<TapLayers> tap_layers) {
  auto driver = std::make_unique<LayerDriver>();
  RunSetup setup;
  setup.n_threads = 2;
  setup.n_slots = 2048;
  setup.max_context = 512;
  setup.max_rows = max_step_rows;
  setup.slot_seed = 5;
  setup.tap_layers = tap_layers;
  auto trunk = LoadedModel::load(model_path(), setup);
  if (!trunk.ok()) {
    ADD_FAILURE() << trunk.error().message;
    return nullptr;
  }
  driver->trunk_ = std::move(trunk).value();
  driver->limits_ = {8, setup.max_context, max_step_rows, setup.kv_types};
  return driver;
}

void LayerDriver::use(const DrafterSetup& choice) {
  auto drafter = make_drafter(choice, *trunk_.model, *trunk_.cache, limits_);
  FLOE_CHECK(drafter.ok());
  drafter_ = std::move(drafter).value();
}

DrivenSequence LayerDriver::make(std::span<const int32_t> tokens) {
  DrivenSequence sequence;
  sequence.id = n_made_++ % limits_.max_sequences;
  sequence.tokens.assign(tokens.begin(), tokens.end());
  sequence.slots = trunk_.take_slots(320);
  return sequence;
}

SequenceRows asking_rows(const DrivenSequence& sequence, uint32_t n_wanted,
                         std::vector<DraftToken> draft) {
  SequenceRows rows;
  rows.sequence = sequence.id;
  rows.tokens = sequence.tokens;
  rows.slots = sequence.slots;
  rows.first_position = sequence.n_cached;
  rows.n_rows = 1;
  rows.reaches_end = rows.has_drafters = true;
  rows.max_draft = rows.n_wanted = n_wanted;
  rows.draft = std::move(draft);
  return rows;
}

SequenceRows committed_rows(const DrivenSequence& sequence, uint32_t n_rows, const float* hidden,
                            const float* taps) {
  SequenceRows rows;
  rows.sequence = sequence.id;
  rows.tokens = sequence.tokens;
  rows.slots = sequence.slots;
  rows.first_position = sequence.n_cached;
  rows.n_rows = rows.n_committed = n_rows;
  rows.has_drafters = true;
  rows.hidden = hidden;
  rows.taps = taps;
  return rows;
}

void LayerDriver::release(DrivenSequence& sequence) {
  drafter_->end(sequence.id);
  trunk_.free_slots.insert(trunk_.free_slots.end(), sequence.slots.begin(), sequence.slots.end());
}

void LayerDriver::prefill(DrivenSequence& sequence, uint32_t chunk) {
  const size_t hidden_dim = trunk_.model->info().hidden_dim;
  drafter_->begin(sequence.id, sequence.tokens, sequence.n_cached, {});
  const SequenceSlots slots{sequence.slots};
  const uint32_t n_tokens = static_cast<uint32_t>(sequence.tokens.size());
  while (sequence.n_cached < n_tokens) {
    const uint32_t first = sequence.n_cached;
    const uint32_t end = std::min(first + chunk, n_tokens);
    std::vector<ForwardRow> rows;
    for (uint32_t p = first; p < end; ++p) {
      rows.push_back({sequence.tokens[p], p, 0, p + 1 == n_tokens});
    }
    const ForwardOutput output = trunk_.model->forward({rows, {&slots, 1}, *trunk_.cache}).value();
    sequence.hidden.insert(sequence.hidden.end(), output.hidden,
                           output.hidden + rows.size() * hidden_dim);
    if (end == n_tokens) {
      sequence.tokens.push_back(
          static_cast<int32_t>(argmax({output.logits, trunk_.model->info().n_vocab})));
    }
    if (output.taps != nullptr) {
      sequence.taps.insert(sequence.taps.end(), output.taps,
                           output.taps + rows.size() * kTaps * hidden_dim);
    }
    const SequenceRows committed =
        committed_rows(sequence, end - first, output.hidden, output.taps);
    drafter_->accept({&committed, 1});
    sequence.n_cached = end;
  }
}

void LayerDriver::step(std::span<DrivenSequence> sequences, const DriveOptions& options,
                       bool asks) {
  const ModelInfo& info = trunk_.model->info();
  std::vector<std::vector<DraftToken>> drafts(sequences.size());
  if (asks) {
    std::vector<SequenceRows> asking;
    for (const DrivenSequence& s : sequences) {
      asking.push_back(asking_rows(s, options.max_tokens));
      asking.back().slots = asking.back().slots.first(s.tokens.size() + options.max_tokens);
    }
    GreedyChooser chooser(options.wrong_every);
    drafter_->draft(asking, chooser);
    for (size_t i = 0; i < sequences.size(); ++i) drafts[i] = asking[i].draft;
  }
  std::vector<ForwardRow> rows;
  std::vector<SequenceSlots> slots;
  for (size_t i = 0; i < sequences.size(); ++i) {
    DrivenSequence& s = sequences[i];
    if (asks) s.drafts[static_cast<uint32_t>(s.tokens.size())] = drafts[i];
    slots.push_back({s.slots});
    rows.push_back({s.tokens.back(), s.n_cached, static_cast<uint32_t>(i), true});
    drafts[i].resize(std::min<size_t>(drafts[i].size(), options.n_verify));
    for (const DraftToken& guess : drafts[i]) {
      rows.push_back({guess.token, rows.back().position + 1, static_cast<uint32_t>(i), true});
    }
  }
  const ForwardOutput output = trunk_.model->forward({rows, slots, *trunk_.cache}).value();
  std::vector<SequenceRows> committed;
  size_t row = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    DrivenSequence& s = sequences[i];
    const float* hidden = output.hidden + row * info.hidden_dim;
    uint32_t n_rows = 0;
    while (true) {
      const std::span<const float> logits{output.logits + (row + n_rows) * info.n_vocab,
                                          info.n_vocab};
      s.tokens.push_back(static_cast<int32_t>(argmax(logits)));
      ++n_rows;
      if (n_rows > drafts[i].size() || drafts[i][n_rows - 1].token != s.tokens.back()) break;
    }
    s.hidden.insert(s.hidden.end(), hidden, hidden + n_rows * info.hidden_dim);
    const float* taps = nullptr;
    if (output.taps != nullptr) {
      taps = output.taps + row * kTaps * info.hidden_dim;
      s.taps.insert(s.taps.end(), taps, taps + size_t{n_rows} * kTaps * info.hidden_dim);
    }
    committed.push_back(committed_rows(s, n_rows, hidden, taps));
    s.n_cached += n_rows;
    row += 1 + drafts[i].size();
  }
  drafter_->accept(committed);
}

std::vector<DrivenSequence> LayerDriver::drive(std::span<const std::vector<int32_t>> prompts,
                                               const DriveOptions& options) {
  std::vector<DrivenSequence> sequences;
  for (const std::vector<int32_t>& prompt : prompts) {
    sequences.push_back(make(prompt));
    prefill(sequences.back(), options.chunk);
  }
  const auto has_all = [&](const DrivenSequence& s, size_t i) {
    return s.tokens.size() >= prompts[i].size() + options.n_new;
  };
  for (uint32_t n_steps = 0;; ++n_steps) {
    bool done = true;
    for (size_t i = 0; i < sequences.size(); ++i) done = done && has_all(sequences[i], i);
    if (done) break;
    step(sequences, options, n_steps % options.every == 0);
  }
  for (DrivenSequence& sequence : sequences) release(sequence);
  return sequences;
}

DraftReads LayerDriver::reads_of_a_guess(std::span<const int32_t> prompt) {
  std::array<DraftReads, 2> reads;
  for (uint32_t n_guesses : {1u, 2u}) {
    DrivenSequence s = make(prompt);
    prefill(s, 64);
    const DraftReads before = drafter_->reads();
    SequenceRows rows = asking_rows(s, n_guesses);
    GreedyChooser chooser;
    drafter_->draft({&rows, 1}, chooser);
    EXPECT_EQ(rows.n_drafted(), n_guesses);
    const DraftReads after = drafter_->reads();
    reads[n_guesses - 1] = {after.weight_bytes - before.weight_bytes,
                            after.head_bytes - before.head_bytes, after.kv_bytes - before.kv_bytes};
    release(s);
  }
  return {reads[1].weight_bytes - reads[0].weight_bytes, reads[1].head_bytes - reads[0].head_bytes,
          reads[1].kv_bytes - reads[0].kv_bytes};
}

void LayerDriver::expect_no_allocations(std::span<const int32_t> prompt, const float* hidden) {
  DrivenSequence s = make(prompt);
  prefill(s, 64);
  s.tokens.resize(300, 17);
  SequenceRows asking = asking_rows(s, 4);
  asking.draft.reserve(kMaxDraftTokens);
  GreedyChooser chooser;
  const AllocationCount count;
  for (const uint32_t n_rows : {1u, 1u, 2u, 30u, 3u, 1u}) {
    const uint32_t end = s.n_cached + n_rows;
    const SequenceRows rows = committed_rows(s, n_rows, hidden);
    drafter_->accept({&rows, 1});
    s.n_cached = end;
    if (n_rows == 30) continue;  // these wait, and with the next there are too many
    asking.draft.clear();
    asking.tokens = std::span(s.tokens).first(end + 1);
    drafter_->draft({&asking, 1}, chooser);
    EXPECT_FALSE(asking.draft.empty());
  }
  EXPECT_EQ(count.bytes(), 0u);
}

void expect_drafts_of_tokens_alone(
    const std::function<LayerDriver*(uint32_t max_step_rows)>& start) {
  constexpr uint32_t kStepRows = 256;
  struct Way {
    DriveOptions options;
    uint32_t max_step_rows;
  };
  const Way ways[] = {
      {{.chunk = 512, .every = 7}, kStepRows},     // rows wait
      {{.chunk = 5, .every = 55}, kStepRows},      // and run without a draft when they are too many
      {{.chunk = 100, .n_verify = 4}, kStepRows},  // guesses become rows, right and wrong ones
      {{.chunk = 1, .n_verify = 2, .every = 3}, kStepRows},
      {{.chunk = 20, .every = 13}, 24},  // more rows wait than one forward takes
  };
  const std::vector<std::vector<int32_t>> prompts = LayerDriver::prompts();
  LayerDriver* driver = start(kStepRows);
  ASSERT_NE(driver, nullptr);
  std::vector<DrivenSequence> alone;
  for (const std::vector<int32_t>& prompt : prompts) {
    alone.push_back(std::move(driver->drive({&prompt, 1}, {})[0]));
  }
  for (const Way& way : ways) {
    if (way.max_step_rows != driver->limits().max_step_rows) driver = start(way.max_step_rows);
    ASSERT_NE(driver, nullptr);
    const std::vector<DrivenSequence> batched = driver->drive(prompts, way.options);
    uint32_t n_equal = 0;
    for (size_t i = 0; i < batched.size(); ++i) {
      n_equal += expect_equal_drafts(batched[i], alone[i]);
    }
    EXPECT_GE(n_equal, 2 * prompts.size()) << &way - ways;
  }
}

uint32_t expect_equal_drafts(const DrivenSequence& a, const DrivenSequence& b) {
  const size_t n_tokens = std::min(a.tokens.size(), b.tokens.size());
  EXPECT_TRUE(std::equal(a.tokens.begin(), a.tokens.begin() + static_cast<ptrdiff_t>(n_tokens),
                         b.tokens.begin()));
  uint32_t n_equal = 0;
  for (const auto& [place, draft] : a.drafts) {
    const auto other = b.drafts.find(place);
    if (other == b.drafts.end()) continue;
    const auto same = [](const DraftToken& x, const DraftToken& y) {
      return x.token == y.token && x.source == y.source && x.confidence == y.confidence;
    };
    const bool equal =
        std::equal(draft.begin(), draft.end(), other->second.begin(), other->second.end(), same);
    EXPECT_TRUE(equal) << "sequence " << a.id << ", draft at " << place;
    n_equal += equal ? 1 : 0;
  }
  return n_equal;
}

}  // namespace floe::test
