#pragma once
// Where the tests find the files of this checkout, and the reference data.
#include <string>
#include <string_view>
#include <vector>

namespace floe {

// relative is a path from the top of the checkout.
std::string repo_path(std::string_view relative);

// Folders of reference cases (tests/golden/README.md): the one that FLOE_GOLDEN_DIR names; else the
// whole set in ../shared/golden where it lies beside the checkout, and the archive of the checkout,
// unpacked by the build. A case that several hold is read from the first.
std::vector<std::string> golden_directories();
// The first of them, which has the decoded blocks.
std::string golden_directory();

}  // namespace floe
