# Tests sit beside what they test: src/FLOOR/**/*_test.cpp becomes the program test_FLOOR.
enable_testing()
find_package(GTest REQUIRED)
include(GoogleTest)

foreach(floor ${FLEDGE_FLOORS})
  file(GLOB_RECURSE tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${floor}/*_test.cpp)
  if(tests)
    add_executable(test_${floor} ${tests})
    get_target_property(view fledge_${floor} FLEDGE_VIEW)
    target_include_directories(test_${floor} PRIVATE ${view} ${CMAKE_SOURCE_DIR}/tests)
    target_compile_definitions(test_${floor} PRIVATE
      FLEDGE_REFERENCE_DIR="${CMAKE_SOURCE_DIR}/tests/reference/data"
      FLEDGE_SOURCE_DIR="${CMAKE_SOURCE_DIR}" FLEDGE_HAVE_MPI=$<BOOL:${FLEDGE_HAVE_MPI}>)
    target_link_libraries(test_${floor} PRIVATE fledge_${floor} GTest::gmock GTest::gtest GTest::gtest_main)
    gtest_discover_tests(test_${floor} TEST_PREFIX ${floor}. DISCOVERY_TIMEOUT 120 PROPERTIES TIMEOUT 600 LABELS unit)
  endif()
endforeach()

add_test(NAME layout COMMAND ${CMAKE_SOURCE_DIR}/script/format --check)
add_test(NAME floors COMMAND ${CMAKE_SOURCE_DIR}/script/check-floors)
file(GLOB command_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/cli/*_test.sh)
foreach(script ${command_tests})
  get_filename_component(name ${script} NAME_WE)
  add_test(NAME command.${name} COMMAND bash ${script} $<TARGET_FILE:fledge>)
  set_tests_properties(command.${name} PROPERTIES TIMEOUT 600 LABELS command)
endforeach()
