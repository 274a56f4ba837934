#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "kernels/kernel_table.h"

namespace floe {
namespace {

// Every entry of every table is filled: a forward looks at none of them before it calls.
TEST(Dispatch, TablesAreComplete) {
  for (const KernelTable* table : machine_kernels()) {
    EXPECT_EQ(find_kernels(table->isa), table);
    const void* entries[(sizeof(KernelTable) - sizeof(const char*)) / sizeof(void*)];
    std::memcpy(entries, reinterpret_cast<const char*>(table) + sizeof(const char*),
                sizeof(entries));
    for (const void* entry : entries) EXPECT_NE(entry, nullptr) << table->isa;
  }
}

TEST(Dispatch, TheReferenceIsTheLastChoice) {
  ASSERT_FALSE(machine_kernels().empty());
  EXPECT_EQ(machine_kernels().back(), &reference_kernels());
  EXPECT_STREQ(reference_kernels().isa, "reference");
}

TEST(Dispatch, UnknownSetsAreAbsent) {
  EXPECT_EQ(find_kernels("sse9"), nullptr);
  EXPECT_EQ(find_kernels(""), nullptr);
}

// CTest also runs it with FLOE_ISA set to each name; aarch64.sh says what emulated machines choose.
TEST(Dispatch, TheEnvironmentOverridesTheChoice) {
  const char* isa = std::getenv("FLOE_ISA");
  if (isa == nullptr || find_kernels(isa) == nullptr) {
    EXPECT_EQ(&kernels(), machine_kernels().front());
    const char* expected = std::getenv("FLOE_EXPECTED_ISA");
    if (expected != nullptr) {
      EXPECT_STREQ(kernels().isa, expected);
    }
  } else {
    EXPECT_STREQ(kernels().isa, isa);
  }
}

TEST(Dispatch, TheChoiceIsAFoundTable) {
  EXPECT_EQ(&kernels(), find_kernels(kernels().isa));
  EXPECT_EQ(&kernels(), &kernels());
}

}  // namespace
}  // namespace floe
