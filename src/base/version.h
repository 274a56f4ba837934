#pragma once
// What this build is. Values come from CMake.

namespace floe {

extern const char* const kVersion;      // "0.1.0"
extern const char* const kBuildCommit;  // short commit id, with "-dirty" where files differ from
                                        // it; "unknown" outside a checkout

}  // namespace floe
