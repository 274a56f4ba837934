# The page: web/ is built by Node and embedded as the library floe_page, which defines page_assets()
# of src/server/page.h. Without Node, npm or their registry the library still exists, with no assets
# in it: the page is a part of the program that may be absent, the server is not.
option(FLOE_WEB "build the web page into the server (needs node and npm)" ON)

set(FLOE_PAGE_DIR ${PROJECT_BINARY_DIR}/web)
set(FLOE_PAGE_SOURCE ${FLOE_PAGE_DIR}/page_assets.cpp)
set(FLOE_PAGE_EMPTY ${PROJECT_SOURCE_DIR}/cmake/page_left_out.cpp)

find_program(FLOE_NODE NAMES node nodejs)
find_program(FLOE_NPM NAMES npm)

if(FLOE_WEB AND FLOE_NODE AND FLOE_NPM)
  file(GLOB_RECURSE FLOE_PAGE_INPUTS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/web/src/*)
  add_custom_command(
    OUTPUT ${FLOE_PAGE_SOURCE}
    COMMAND ${CMAKE_COMMAND} -DWEB_DIR=${PROJECT_SOURCE_DIR}/web -DPAGE_DIR=${FLOE_PAGE_DIR}
            -DPAGE_SOURCE=${FLOE_PAGE_SOURCE} -DEMPTY_SOURCE=${FLOE_PAGE_EMPTY} -DNODE=${FLOE_NODE}
            -P ${PROJECT_SOURCE_DIR}/cmake/build_page.cmake
    DEPENDS ${FLOE_PAGE_INPUTS} ${FLOE_PAGE_EMPTY} ${PROJECT_SOURCE_DIR}/web/build.sh
            ${PROJECT_SOURCE_DIR}/web/build.mjs ${PROJECT_SOURCE_DIR}/web/embed.mjs
            ${PROJECT_SOURCE_DIR}/web/package.json ${PROJECT_SOURCE_DIR}/web/package-lock.json
            ${PROJECT_SOURCE_DIR}/web/tsconfig.json ${PROJECT_SOURCE_DIR}/cmake/build_page.cmake
    COMMENT "Building the web page"
    VERBATIM)
  add_library(floe_page STATIC ${FLOE_PAGE_SOURCE})
  target_compile_options(floe_page PRIVATE -Wno-trigraphs)  # the page's texts hold what looks like some
else()
  if(NOT FLOE_WEB)
    message(STATUS "The web page is left out: FLOE_WEB is OFF")
  else()
    message(STATUS "The web page is left out: node or npm was not found")
  endif()
  add_library(floe_page STATIC ${FLOE_PAGE_EMPTY})
endif()
target_include_directories(floe_page PUBLIC ${PROJECT_SOURCE_DIR}/src)
