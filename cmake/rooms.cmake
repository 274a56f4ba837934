# floe_room(NAME SOURCES a.cpp ... DEPENDS lower rooms or libraries): one static library per folder of src/.
function(floe_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(floe_${name} STATIC ${ROOM_SOURCES})
  target_include_directories(floe_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(floe_${name} PUBLIC ${ROOM_DEPENDS})
endfunction()

# floe_test(ROOM SOURCES ... DEPENDS ...): one GoogleTest binary per room, build/<preset>/tests/<room>_test.
function(floe_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name}_test ${TEST_SOURCES})
  target_link_libraries(${name}_test PRIVATE ${TEST_DEPENDS} GTest::gtest_main)
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  # Tests find the repository and the reference data beside it through these.
  target_compile_definitions(${name}_test PRIVATE FLOE_REPO_DIR="${PROJECT_SOURCE_DIR}")
  set_target_properties(${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  set_target_properties(${name}_test PROPERTIES UNITY_BUILD ${FLOE_JOIN_TESTS} UNITY_BUILD_BATCH_SIZE 6)
  add_test(NAME ${name} COMMAND ${name}_test)
endfunction()

# floe_fuzz(NAME SOURCES ... DEPENDS ...): a libFuzzer target, only in the fuzz preset.
function(floe_fuzz name)
  if(NOT FLOE_FUZZ)
    return()
  endif()
  cmake_parse_arguments(FUZZ "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(fuzz_${name} ${FUZZ_SOURCES})
  target_link_libraries(fuzz_${name} PRIVATE ${FUZZ_DEPENDS})
  target_include_directories(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
endfunction()
