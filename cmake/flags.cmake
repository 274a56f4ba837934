# One place for compiler flags. Code is built for the baseline of its architecture; only the kernel
# files of one instruction set get more (src/kernels/CMakeLists.txt), and they are chosen at run time.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # GCC spends a tenth of its time on collecting its own garbage where it could take memory: let the
  # first collection wait for 400 MB.
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:--param=ggc-min-heapsize=400000>)
endif()

# Of C and C++; nvcc has flags of its own (src/cuda).
add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wshadow;-Wsign-compare;-Werror=return-type>")
# A row's bits must not depend on what the compiler fuses: fused multiply-adds are written out.
add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-ffp-contract=off>)

if(FLOE_SANITIZE)
  add_compile_options(-O1 -fsanitize=${FLOE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${FLOE_SANITIZE})
else()
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-fstack-protector-strong;-fstack-clash-protection>"
                      "$<$<COMPILE_LANGUAGE:C,CXX>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
  add_link_options(-pie -Wl,-z,relro,-z,now)
endif()
if(FLOE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
