#pragma once
// What the matrix kernels compute where memory does not hold them up: the C_c(n) of the time model.
#include <vector>

#include "base/thread_pool.h"
#include "quant/format.h"

namespace floe {

// Multiply-adds per second of all threads together, with weights that stay in the second-level
// cache, by the number of activation rows that share a weight.
class KernelRates {
 public:
  struct Point {
    double rows = 1;
    double macs_per_second = 0;
  };
  // points: at least one, rows ascending. bytes_per_weight: as packed.
  KernelRates(std::vector<Point> points, double bytes_per_weight)
      : points_(std::move(points)), bytes_per_weight_(bytes_per_weight) {}

  double bytes_per_weight() const { return bytes_per_weight_; }
  // Between two points the time that a weight takes runs straight; beyond the ends the rate stays.
  double macs_per_second(double rows) const;

 private:
  std::vector<Point> points_;
  double bytes_per_weight_;
};

// With the kernel table in use, in about a third of a second.
KernelRates measure_kernel_rates(ThreadPool& pool, QuantType format);

}  // namespace floe
