// What answers and metrics say about speculation, from figures as the engine gives them.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/json.h"
#include "server/metrics.h"
#include "server/openai_response.h"

namespace floe {
namespace {

Json rendered(const AnswerFigures& figures) {
  return Json::parse('{' + figures_json(figures) + '}');
}

TEST(Figures, GuessesAreCountedWhereThereWereSome) {
  AnswerFigures figures;
  figures.completion_tokens = 20;
  figures.telemetry.n_steps = 10;
  figures.telemetry.seconds = 0.5;
  Json json = rendered(figures);
  EXPECT_FALSE(json["timings"].contains("draft_n"));
  EXPECT_FALSE(json["timings"].contains("draft_n_accepted"));
  EXPECT_EQ(json["moe"]["spec_state"], "off");
  EXPECT_EQ(json["moe"]["spec_reason"], "no drafter");
  EXPECT_EQ(json["moe"]["step_ms"], 50.0);
  EXPECT_TRUE(json["moe"]["predicted_step_ms"].is_null());

  figures.telemetry.n_drafted = 12;
  figures.telemetry.n_accepted = 9;
  figures.telemetry.spec_state = "draft";
  figures.telemetry.spec_reason = SpecReason::pays;
  figures.telemetry.n_predicted_steps = 8;
  figures.telemetry.predicted_seconds = 0.36;
  json = rendered(figures);
  EXPECT_EQ(json["timings"]["draft_n"], 12);
  EXPECT_EQ(json["timings"]["draft_n_accepted"], 9);
  EXPECT_EQ(json["moe"]["spec_state"], "draft");
  EXPECT_EQ(json["moe"]["spec_reason"], "pays");
  EXPECT_EQ(json["moe"]["step_ms"], 50.0);
  EXPECT_EQ(json["moe"]["predicted_step_ms"], 45.0);
}

// One row a name of the field.
TEST(Answer, ReasoningComesInTheFieldAskedFor) {
  const struct {
    ReasoningField field;
    bool reasoning_content;
    bool reasoning;
  } rows[] = {{ReasoningField::reasoning_content, true, false},
              {ReasoningField::reasoning, false, true},
              {ReasoningField::both, true, true}};
  for (const auto& row : rows) {
    AnswerIdentity identity;
    identity.chat = true;
    identity.reasoning_field = row.field;
    std::vector<AnswerChoice> answer(1);
    answer[0].reasoning_content = "hm";
    const Json whole = Json::parse(answer_json(identity, answer, false, {}, {}));
    std::string frame;
    OpenAiWriter(identity, false).reasoning(0, "hm", {}, {}, frame);
    const Json chunk = Json::parse(frame.substr(6));
    for (const Json& message : {whole["choices"][0]["message"], chunk["choices"][0]["delta"]}) {
      EXPECT_EQ(message.contains("reasoning_content"), row.reasoning_content) << message;
      EXPECT_EQ(message.contains("reasoning"), row.reasoning) << message;
      for (const char* name : {"reasoning_content", "reasoning"}) {
        EXPECT_EQ(message.value(name, "hm"), "hm");
      }
    }
  }
}

TEST(Usage, NamesThePredictionsTokens) {
  AnswerUsage usage;
  usage.prompt_tokens = 5;
  usage.completion_tokens = 7;
  usage.accepted_prediction_tokens = 4;
  usage.rejected_prediction_tokens = 2;
  const Json details = Json::parse(usage_json(usage))["completion_tokens_details"];
  EXPECT_EQ(details["accepted_prediction_tokens"], 4);
  EXPECT_EQ(details["rejected_prediction_tokens"], 2);
}

TEST(Metrics, CountGuessesBySourceAndPosition) {
  MetricsInput input;
  EngineStats& s = input.engine;
  s.n_drafts = 9;
  s.n_drafted = {1, 20, 300, 0, 0};
  s.n_draft_accepted = {0, 10, 200, 0, 0};
  s.accepted_by_position[0] = 150;
  s.accepted_by_position[1] = 60;
  s.draft_seconds = 1.5;
  s.n_spec_switches[static_cast<size_t>(SpecReason::pays)] = 3;
  s.n_spec_switches[static_cast<size_t>(SpecReason::would_not_pay)] = 2;
  s.drafters[static_cast<size_t>(DraftSource::prompt_lookup)] = DrafterState::on;
  s.drafters[static_cast<size_t>(DraftSource::mtp)] = DrafterState::off;
  s.n_sequences = 6;
  s.n_drafting = 3;
  s.n_parked = 1;
  const std::string text = metrics_text(input);
  for (const char* line :
       {"llamacpp:spec_decode_num_drafts_total 9",
        "llamacpp:spec_decode_num_draft_tokens_total 321",
        "llamacpp:spec_decode_num_accepted_tokens_total 210",
        "llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position=\"0\"} 150",
        "llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position=\"1\"} 60",
        "llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position=\"31\"} 0",
        "floe_spec_drafted_tokens_total{source=\"ngram\"} 1",
        "floe_spec_drafted_tokens_total{source=\"prediction\"} 20",
        "floe_spec_accepted_tokens_total{source=\"mtp\"} 200",
        "floe_spec_accepted_tokens_total{source=\"eagle3\"} 0", "floe_spec_draft_seconds_total 1.5",
        "floe_spec_switches_total{reason=\"pays\"} 3",
        "floe_spec_switches_total{reason=\"would not pay\"} 2",
        "floe_spec_switches_total{reason=\"parked\"} 0", "floe_spec_enabled{type=\"ngram\"} 1",
        "floe_spec_enabled{type=\"mtp\"} 0", "floe_spec_sequences{state=\"draft\"} 3",
        "floe_spec_sequences{state=\"parked\"} 1", "floe_spec_sequences{state=\"plain\"} 2"}) {
    EXPECT_NE(text.find(std::string("\n") + line + "\n"), std::string::npos) << line;
  }
  EXPECT_EQ(text.find("type=\"eagle3\""), std::string::npos) << "there is none";
  for (const SpecReason never :
       {SpecReason::none, SpecReason::no_drafter, SpecReason::not_wanted}) {
    EXPECT_EQ(text.find(std::string("reason=\"") + to_string(never) + '"'), std::string::npos);
  }
}

TEST(Metrics, EveryReasonHasItsName) {
  std::set<std::string> names;
  for (uint32_t i = 0; i < kSpecReasons; ++i) names.insert(to_string(static_cast<SpecReason>(i)));
  EXPECT_EQ(names.size(), kSpecReasons);
  EXPECT_STREQ(to_string(static_cast<SpecReason>(kSpecReasons)), "") << "they are all counted";
}

TEST(Metrics, BytesBelongToWhatWasRead) {
  MetricsInput input;
  EngineStats& s = input.engine;
  s.head_bytes = 1000;
  s.kv_bytes = 500;
  s.draft_reads[static_cast<size_t>(DraftSource::mtp)] = {7, 20, 3};
  s.draft_reads[static_cast<size_t>(DraftSource::draft_model)] = {80, 0, 1};
  s.draft_reads[static_cast<size_t>(DraftSource::eagle3)] = {9, 0, 0};
  const std::string text = metrics_text(input);
  for (const char* line :
       {"floe_weight_bytes_read_total{kind=\"head\"} 1020",
        "floe_weight_bytes_read_total{kind=\"mtp\"} 7",
        "floe_weight_bytes_read_total{kind=\"draft\"} 80",
        "floe_weight_bytes_read_total{kind=\"eagle3\"} 9", "floe_kv_bytes_read_total 504"}) {
    EXPECT_NE(text.find(std::string("\n") + line + "\n"), std::string::npos) << line;
  }
}

TEST(Metrics, UnionsAreKeptByTheBatch) {
  MetricsInput input;
  EngineStats& s = input.engine;
  for (const double experts : {3.5, 4.0, 4.5, 500.0}) {
    s.experts_union[batch_bucket(3)].observe(experts);
  }
  s.experts_union[batch_bucket(1000)].observe(128);
  const std::string text = metrics_text(input);
  for (const char* line :
       {"# TYPE floe_experts_union histogram",
        "floe_experts_union_bucket{batch=\"3-4\",le=\"2\"} 0",
        "floe_experts_union_bucket{batch=\"3-4\",le=\"4\"} 2",
        "floe_experts_union_bucket{batch=\"3-4\",le=\"384\"} 3",
        "floe_experts_union_bucket{batch=\"3-4\",le=\"+Inf\"} 4",
        "floe_experts_union_sum{batch=\"3-4\"} 512", "floe_experts_union_count{batch=\"3-4\"} 4",
        "floe_experts_union_count{batch=\"129+\"} 1"}) {
    EXPECT_NE(text.find(std::string("\n") + line + "\n"), std::string::npos) << line;
  }
  EXPECT_EQ(text.find("batch=\"1\""), std::string::npos) << "no forward had one row";
}

}  // namespace
}  // namespace floe
