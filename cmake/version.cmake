# Writes version.cpp: cmake -DSOURCE_DIR= -DVERSION= -DNOTE= -DIN= -DOUT= -P version.cmake
execute_process(
  COMMAND git describe --always --dirty --exclude=*
  WORKING_DIRECTORY ${SOURCE_DIR}
  OUTPUT_VARIABLE COMMIT
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT COMMIT)
  set(COMMIT unknown)
endif()
string(APPEND COMMIT "${NOTE}")
configure_file(${IN} ${OUT} @ONLY)
