# Flags that every target shares. The binary runs on any x86-64-v2 machine; faster code sits in files named after
# their instruction set (see floors.cmake) and is chosen at run time.
find_program(CCACHE ccache)
if(CCACHE)
  # Paths relative to the sources, so that every clone and every build folder shares what was compiled before. ccache
  # leaves alone what uses a precompiled header unless the macros of the command line and __TIME__ may be ignored in it.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
                                  CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()

add_library(fledge_flags INTERFACE)
target_compile_options(fledge_flags INTERFACE -march=x86-64-v2 -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers
                                              -fno-math-errno -ffp-contract=off -fopenmp-simd)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # GCC frees its own memory only above half a gigabyte: a fifth less time for a fifth more memory.
  target_compile_options(fledge_flags INTERFACE --param=ggc-min-heapsize=500000)
endif()
if(FLEDGE_SANITIZE)
  target_compile_options(fledge_flags INTERFACE -fsanitize=${FLEDGE_SANITIZE} -fno-sanitize-recover=all
                                                -fno-omit-frame-pointer)
  target_link_options(fledge_flags INTERFACE -fsanitize=${FLEDGE_SANITIZE})
endif()
if(FLEDGE_FUZZ)
  target_compile_options(fledge_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Files whose name ends in an instruction set are compiled for it. Such a file includes only intrinsics and plain
# declarations: an inline function of the standard library compiled here could be the copy that the linker keeps.
set(FLEDGE_ISA_avx2 -mavx2 -mfma -mf16c)
set(FLEDGE_ISA_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma)
set(FLEDGE_ISA_avx512_bf16 ${FLEDGE_ISA_avx512} -mavx512bf16)
set(FLEDGE_ISA_avx512_vnni ${FLEDGE_ISA_avx512} -mf16c -mavx512vnni)
set(FLEDGE_ISA_amx ${FLEDGE_ISA_avx512_bf16} -mf16c -mavx512vnni -mamx-tile -mamx-bf16 -mamx-int8)
function(fledge_isa_flags file)
  get_filename_component(name ${file} NAME_WE)
  foreach(isa avx2 avx512 avx512_bf16 avx512_vnni amx)
    if(name MATCHES "_${isa}$")
      set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "${FLEDGE_ISA_${isa}}"
                                                     SKIP_PRECOMPILE_HEADERS ON)
    endif()
  endforeach()
endfunction()
