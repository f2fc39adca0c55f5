# Puts the web page into the binary: every file under web/ becomes an array of bytes with its MIME type and ETag
# (serve/web_files.h). Included, it defines fledge_embed_web(); run as a script (-P) by the build, it writes the source.
if(CMAKE_SCRIPT_MODE_FILE)
  # -DWEB=folder -DOUTPUT=file.cpp
  set(types html "text/html; charset=utf-8" js "text/javascript; charset=utf-8" mjs "text/javascript; charset=utf-8"
      css "text/css; charset=utf-8" svg "image/svg+xml" json "application/json" png "image/png" ico "image/x-icon"
      woff2 "font/woff2" txt "text/plain; charset=utf-8" md "text/markdown; charset=utf-8")
  file(GLOB_RECURSE paths RELATIVE ${WEB} ${WEB}/*)
  list(SORT paths)
  set(arrays "")
  set(table "")
  set(number 0)
  string(REPEAT "." 80 line)  # 16 bytes
  foreach(path ${paths})
    string(REGEX MATCH "[^.]*$" extension ${path})
    list(FIND types ${extension} place)
    if(place LESS 0)
      message(FATAL_ERROR "web/${path}: no MIME type is known for this ending; add it to cmake/embed_web.cmake")
    endif()
    math(EXPR place "${place} + 1")
    list(GET types ${place} type)
    file(READ ${WEB}/${path} bytes HEX)
    string(LENGTH "${bytes}" digits)
    math(EXPR size "${digits} / 2")
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
    file(SHA256 ${WEB}/${path} hash)
    string(SUBSTRING ${hash} 0 16 hash)
    # The last byte is not part of the file: an array cannot be empty.
    string(APPEND arrays "const unsigned char file_${number}[] = {${bytes}0};\n")
    string(APPEND table "    {\"/${path}\", \"${type}\", \"\\\"${hash}\\\"\", {reinterpret_cast<const char*>(file_${number}), ${size}}},\n")
    math(EXPR number "${number} + 1")
  endforeach()
  file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[// Written by cmake/embed_web.cmake.
#include "serve/web_files.h"

namespace fledge::serve {
namespace {
@arrays@
const WebFile files[] = {
@table@};
}  // namespace

std::span<const WebFile> embedded_web_files() { return files; }

}  // namespace fledge::serve
]] @ONLY)
  return()
endif()

function(fledge_embed_web target folder)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${folder}/*)
  set(output ${CMAKE_BINARY_DIR}/embedded_web.cpp)
  add_custom_command(OUTPUT ${output}
                     COMMAND ${CMAKE_COMMAND} -DWEB=${folder} -DOUTPUT=${output}
                             -P ${CMAKE_SOURCE_DIR}/cmake/embed_web.cmake
                     DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/embed_web.cmake
                     COMMENT "Embedding the web page" VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
