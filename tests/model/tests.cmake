# The protocol's models with small bounds, each a test of its own. Larger ones: tests/model/verify full
foreach(model replica lease recover session writebehind catchup)
  add_test(NAME model_${model} COMMAND ${CMAKE_CURRENT_LIST_DIR}/verify small ${model}.pml)
  set_tests_properties(model_${model} PROPERTIES LABELS model TIMEOUT 300)
endforeach()
