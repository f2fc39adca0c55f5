# Headers of other libraries that many files include are parsed once: those of the standard library and fmt on every
# floor, JSON where most files use it, GoogleTest in the tests. None of fledge's own headers: they change. A file still
# includes all that it uses; the preset `fuzz` builds without precompiled headers and so finds what is missing, as does
# any other with -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON.
set(FLEDGE_PRECOMPILED_STANDARD
    <algorithm> <array> <atomic> <charconv> <cmath> <cstdint> <cstring> <filesystem> <functional> <limits> <map> <memory>
    <mutex> <numeric> <optional> <set> <span> <sstream> <string> <string_view> <unordered_map> <unordered_set> <utility>
    <vector> <fmt/format.h>)
set(FLEDGE_PRECOMPILED_JSON ${FLEDGE_PRECOMPILED_STANDARD} <nlohmann/json.hpp>)
set(FLEDGE_PRECOMPILED_TESTS ${FLEDGE_PRECOMPILED_JSON} <gmock/gmock.h> <gtest/gtest.h>)
set(FLEDGE_JSON_FLOORS models infer train serve cli)

if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  # Without the times of the headers in it, the same precompiled header is the same file, which ccache knows again.
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
endif()

# Targets of a kind (STANDARD, JSON, TESTS) share one precompiled header, which the first of them makes.
function(fledge_precompile target kind)
  get_property(first GLOBAL PROPERTY FLEDGE_PRECOMPILED_BY_${kind})
  if(first)
    target_precompile_headers(${target} REUSE_FROM ${first})
  else()
    target_precompile_headers(${target} PRIVATE ${FLEDGE_PRECOMPILED_${kind}})
    set_property(GLOBAL PROPERTY FLEDGE_PRECOMPILED_BY_${kind} ${target})
  endif()
endfunction()
