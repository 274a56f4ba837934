#pragma once
// A small Prometheus registry: families of samples as text, format version 0.0.4.
#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "engine/stats.h"
#include "server/http.h"

namespace floe {

inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// Writes one family after the other. Names and label names are ours and valid; label values are
// escaped.
class MetricsText {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // Begins a family; type is "counter", "gauge" or "histogram".
  void family(std::string_view name, std::string_view type, std::string_view help);
  void sample(double value, Labels labels = {});
  template <const auto& kBuckets>
  void histogram(const HistogramOf<kBuckets>& h, Labels labels = {}) {
    histogram(kBuckets, h.counts, h.sum, labels);
  }
  // A family with one sample.
  void counter(std::string_view name, std::string_view help, double value, Labels labels = {});
  void gauge(std::string_view name, std::string_view help, double value, Labels labels = {});

  const std::string& text() const { return text_; }

 private:
  // counts: of each bound, and the last one above every bound.
  void histogram(std::span<const double> bounds, std::span<const uint64_t> counts, double sum,
                 Labels labels);
  void line(std::string_view suffix, Labels labels, std::string_view bound, double value);

  std::string name_;
  std::string text_;
};

// Answers by route and status, counted by whoever answers. Any thread.
class RouteCounters {
 public:
  static constexpr size_t kRoutes = 32;
  static constexpr std::array<int, 19> kStatuses = {200, 204, 304, 400, 401, 403, 404,
                                                    405, 408, 413, 414, 415, 417, 421,
                                                    429, 431, 500, 503, 505};
  void count(size_t route, int status);
  uint64_t get(size_t route, size_t status_index) const;

 private:
  std::array<std::array<std::atomic<uint64_t>, kStatuses.size()>, kRoutes> counts_{};
};

struct MetricsInput {
  std::string_view model_name;
  EngineStats engine;
  HttpCounters http;
  size_t n_preparing = 0;   // requests whose body waits to be read
  double floor_gb_s = 0.0;  // 0: not measured
  bool ready = false;
  const RouteCounters* routes = nullptr;
  std::span<const std::string_view> route_names;
};

// Everything at /metrics: names known from llama.cpp and vLLM, and our own.
std::string metrics_text(const MetricsInput& input);

}  // namespace floe
