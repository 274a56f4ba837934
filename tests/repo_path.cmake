# The one file that knows where the checkout lies: the objects of all others are the same in every checkout.
add_library(floe_repo_path STATIC ${CMAKE_CURRENT_LIST_DIR}/repo_path.cpp)
target_include_directories(floe_repo_path PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_compile_definitions(floe_repo_path PRIVATE
  FLOE_REPO_DIR="${PROJECT_SOURCE_DIR}" FLOE_GOLDEN_UNPACKED="${PROJECT_BINARY_DIR}/golden")

set(golden_archive ${CMAKE_CURRENT_LIST_DIR}/golden/cases.tar.xz)
set(golden_stamp ${PROJECT_BINARY_DIR}/golden/unpacked)
add_custom_command(OUTPUT ${golden_stamp}
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${PROJECT_BINARY_DIR}/golden
  COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/golden
  COMMAND ${CMAKE_COMMAND} -E chdir ${PROJECT_BINARY_DIR}/golden ${CMAKE_COMMAND} -E tar xf ${golden_archive}
  COMMAND ${CMAKE_COMMAND} -E touch ${golden_stamp}
  DEPENDS ${golden_archive} COMMENT "Unpacking the reference cases" VERBATIM)
add_custom_target(floe_golden DEPENDS ${golden_stamp})
add_dependencies(floe_repo_path floe_golden)
