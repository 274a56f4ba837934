#pragma once
// Where the tests find the files of this checkout, and the reference data.
#include <string>
#include <string_view>

namespace floe {

// relative is a path from the top of the checkout.
std::string repo_path(std::string_view relative);

// Reference cases (tests/golden/README.md): the folder that FLOE_GOLDEN_DIR names, else the whole
// set in
// ../shared/golden beside the checkout, else the part of it that comes with the checkout, unpacked
// by the build.
std::string golden_directory();

}  // namespace floe
