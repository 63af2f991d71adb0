# Allocation failure, without a seam in the product.
fb_add_test(alloc_fail LABELS unit TIMEOUT 300 SOURCES unit/alloc/alloc_test.c unit/alloc/fail.c
  LIBS node_control node_disk fb_coord)
foreach(call malloc calloc realloc fb_xmalloc fb_xcalloc fb_xrealloc fb_xstrdup fb_buf_reserve fb_buf_printf)
  target_link_options(alloc_fail PRIVATE -Wl,--wrap=${call})
endforeach()
