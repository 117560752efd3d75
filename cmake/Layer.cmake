# Every folder of src/ is one static library. A target sees the headers of a folder only if it links
# that folder's library: each folder is reached through a directory of its own that holds nothing
# but links to its headers (not to those of folders inside it, which are layers of their own), so
# `#include "squad/windows.h"` fails to build where squad is not allowed. tests/structure proves it.

add_library(bertrand_options INTERFACE)
target_compile_options(bertrand_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fno-math-errno -ffp-contract=off)
if(BERTRAND_SANITIZE)
  target_compile_options(bertrand_options INTERFACE
    -fsanitize=${BERTRAND_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(bertrand_options INTERFACE -fsanitize=${BERTRAND_SANITIZE})
endif()
find_package(Threads REQUIRED)
target_link_libraries(bertrand_options INTERFACE Threads::Threads)

# bertrand_layer(NAME [FOLDER folder] [USES layer...] [LIBRARIES target...])
# FOLDER is relative to src/ and is NAME unless given. USES are the layers whose headers it may include.
function(bertrand_layer name)
  cmake_parse_arguments(LAYER "" "FOLDER" "USES;LIBRARIES" ${ARGN})
  if(NOT LAYER_FOLDER)
    set(LAYER_FOLDER ${name})
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${LAYER_FOLDER}/*.cpp)
  # Sources are in view too: Highway's include themselves once for each instruction set.
  file(GLOB visible CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${LAYER_FOLDER}/*.h
       ${PROJECT_SOURCE_DIR}/src/${LAYER_FOLDER}/*.cpp)
  set(view ${PROJECT_BINARY_DIR}/layers/${name})
  file(REMOVE_RECURSE ${view})
  file(MAKE_DIRECTORY ${view}/${LAYER_FOLDER})
  foreach(file ${visible})
    cmake_path(GET file FILENAME file_name)
    file(CREATE_LINK ${file} ${view}/${LAYER_FOLDER}/${file_name} SYMBOLIC)
  endforeach()
  set_property(GLOBAL APPEND PROPERTY BERTRAND_LAYERS ${name})
  add_library(bertrand_${name} STATIC ${sources})
  set_target_properties(bertrand_${name} PROPERTIES BERTRAND_FOLDER ${LAYER_FOLDER})
  target_include_directories(bertrand_${name} PUBLIC ${view})
  list(TRANSFORM LAYER_USES PREPEND bertrand_)
  target_link_libraries(bertrand_${name}
    PUBLIC ${LAYER_USES}
    PRIVATE bertrand_options ${LAYER_LIBRARIES})
endfunction()
