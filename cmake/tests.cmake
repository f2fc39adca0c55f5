# Tests sit beside what they test: src/FLOOR/**/*_test.cpp becomes the program test_FLOOR.
# Threads that wait for work sleep instead of spinning, so that tests stay quick on a machine that does other things too.
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
    gtest_discover_tests(test_${floor} TEST_PREFIX ${floor}. DISCOVERY_TIMEOUT 120
                         PROPERTIES TIMEOUT 600 LABELS unit ENVIRONMENT OMP_WAIT_POLICY=passive)
  endif()
endforeach()

add_test(NAME layout COMMAND ${CMAKE_SOURCE_DIR}/script/format --check)
add_test(NAME floors COMMAND ${CMAKE_SOURCE_DIR}/script/check-floors)
file(GLOB command_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/cli/*_test.sh)
foreach(script ${command_tests})
  get_filename_component(name ${script} NAME_WE)
  add_test(NAME command.${name} COMMAND bash ${script} $<TARGET_FILE:fledge>)
  set_tests_properties(command.${name} PROPERTIES TIMEOUT 600 LABELS command ENVIRONMENT OMP_WAIT_POLICY=passive)
endforeach()

# The web page: its logic in Node, and the whole page in a headless browser, where there are such.
find_program(FLEDGE_NODE NAMES node nodejs DOC "Runs the tests of the web page's modules")
find_program(FLEDGE_CHROMIUM NAMES chromium chromium-browser google-chrome DOC "Runs the test of the whole web page")
if(FLEDGE_NODE)
  file(GLOB page_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/web/*.test.mjs)
  add_test(NAME web.modules COMMAND ${FLEDGE_NODE} --test ${page_tests})
  set_tests_properties(web.modules PROPERTIES TIMEOUT 300 LABELS web)
endif()
find_program(FLEDGE_TSC tsc DOC "Checks the types of the web page's modules")
if(FLEDGE_TSC)
  file(GLOB page_modules CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/*.js)
  add_test(NAME web.types COMMAND ${FLEDGE_TSC} --noEmit --allowJs --checkJs --strict --target es2022 --module es2022
                                  --lib es2022,dom,dom.iterable --moduleResolution node ${page_modules})
  set_tests_properties(web.types PROPERTIES TIMEOUT 300 LABELS web)
endif()
if(FLEDGE_NODE AND FLEDGE_CHROMIUM)
  add_test(NAME web.browser COMMAND ${FLEDGE_NODE} ${CMAKE_SOURCE_DIR}/tests/web/browser_test.mjs $<TARGET_FILE:fledge>
                                    ${FLEDGE_CHROMIUM})
  set_tests_properties(web.browser PROPERTIES TIMEOUT 600 LABELS web)
else()
  message(STATUS "The web page is not tested in a browser: node or chromium is missing (script/setup --web)")
endif()
