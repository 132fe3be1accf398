# sluice_criterion(<target> [NAME <test name>] [ARGS <criterion arguments...>])
#
# Makes an executable a Criterion program and a ctest test. Two facts about Criterion decide what stands here: it runs
# every test in a process of its own by executing the program again, and it looks at what the test said, not at how
# that process ended. Hence a leak reported at exit would pass unseen, unless the output is read.
pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)

function(sluice_criterion target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "NAME" "ARGS")
  if(NOT arg_NAME)
    set(arg_NAME ${target})
  endif()
  target_link_libraries(${target} PRIVATE PkgConfig::CRITERION)

  set(timeout 120)
  if(SLUICE_SANITIZE)
    set(timeout 600)
  endif()
  if(SLUICE_SANITIZE MATCHES "thread")
    target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/cmake/criterion_shim.c)
    target_compile_definitions(${target} PRIVATE SLUICE_SHIM_TSAN)
  endif()
  if(CMAKE_CROSSCOMPILING)
    target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/cmake/criterion_shim.c)
    target_compile_definitions(${target} PRIVATE SLUICE_SHIM_QEMU="${SLUICE_QEMU}")
    set(timeout 1200)
  endif()

  # Waiting threads sleep, because several programs share the cores. Tests ask for impossible amounts of memory, and
  # AddressSanitizer should answer like malloc. ThreadSanitizer does not know what happens inside libraries that it did
  # not compile (libomp's own locks), so it keeps silent about them.
  set(environment OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1 UBSAN_OPTIONS=print_stacktrace=1
    ASAN_OPTIONS=allocator_may_return_null=1 TSAN_OPTIONS=ignore_noninstrumented_modules=1)

  # ctest runs several programs at a time; inside one program the tests follow each other, each with its own team.
  add_test(NAME ${arg_NAME} COMMAND ${target} --jobs 1 ${arg_ARGS})
  set_tests_properties(${arg_NAME} PROPERTIES
    TIMEOUT ${timeout}
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    FAIL_REGULAR_EXPRESSION "ERROR: [A-Za-z]+Sanitizer;WARNING: ThreadSanitizer;runtime error: "
    ENVIRONMENT "${environment}")
endfunction()
