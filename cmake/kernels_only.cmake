# The libraries of a build with FLOE_KERNELS_ONLY, from headers and sources that any machine has:
# libraries of the target machine need not be installed. Only these headers are picked from
# /usr/include, where the build machine's C library lies too.
set(borrowed ${PROJECT_BINARY_DIR}/borrowed_headers)
file(MAKE_DIRECTORY ${borrowed})
foreach(library fmt spdlog nlohmann)
  find_path(${library}_HEADERS ${library} HINTS /usr/include NO_CMAKE_FIND_ROOT_PATH REQUIRED)
  file(CREATE_LINK ${${library}_HEADERS}/${library} ${borrowed}/${library} SYMBOLIC)
endforeach()

function(borrowed_library name)
  string(REPLACE "::" "_" target borrowed_${name})
  add_library(${target} INTERFACE)
  target_include_directories(${target} SYSTEM INTERFACE ${borrowed})
  target_compile_definitions(${target} INTERFACE ${ARGN})
  add_library(${name} ALIAS ${target})
endfunction()
borrowed_library(fmt::fmt FMT_HEADER_ONLY)
borrowed_library(spdlog::spdlog FMT_HEADER_ONLY SPDLOG_FMT_EXTERNAL)
borrowed_library(nlohmann_json::nlohmann_json)

find_path(GTEST_SOURCES src/gtest-all.cc HINTS /usr/src/googletest/googletest NO_CMAKE_FIND_ROOT_PATH
          REQUIRED)
add_library(borrowed_gtest STATIC EXCLUDE_FROM_ALL ${GTEST_SOURCES}/src/gtest-all.cc
                                                   ${GTEST_SOURCES}/src/gtest_main.cc)
target_include_directories(borrowed_gtest SYSTEM PUBLIC ${GTEST_SOURCES}/include PRIVATE ${GTEST_SOURCES})
target_link_libraries(borrowed_gtest PUBLIC Threads::Threads)
add_library(GTest::gtest_main ALIAS borrowed_gtest)
