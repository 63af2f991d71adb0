# The checkers of the simulator are tested on their own: a checker that finds nothing is worth nothing.
foreach(name history history_twins)
  fb_add_test(sim_${name} LABELS unit TIMEOUT 300
    SOURCES sim/${name}_test.c sim/history.c sim/history_judge.c sim/history_loss.c sim/history_txn.c sim/reply.c
      sim/shadow.c
    LIBS fb_wire fb_cluster fb_base)
endforeach()

# The same seed is the same run: each of these twice, and the hashes of the traces compared.
add_test(NAME sim_twice COMMAND forebay-sim --seed 1 --count 8 --twice)
# As many of these seeds as there is time for; each core has its own. Few enough that a faster machine does not come to
# seeds that nobody has run before: those are for tools/soak, where they stop nobody.
foreach(part 1 2)
  add_test(NAME sim_seeds_${part} COMMAND forebay-sim --seed ${part}0000 --count 10000 --seconds 35)
endforeach()
# The same with several nodes and copies.
add_test(NAME sim_copies_twice COMMAND forebay-sim --copies --seed 1 --count 4 --twice)
add_test(NAME sim_copies COMMAND forebay-sim --copies --seed 30000 --count 10000 --seconds 45)
set_tests_properties(sim_twice sim_seeds_1 sim_seeds_2 sim_copies_twice sim_copies PROPERTIES TIMEOUT 300 LABELS sim
  ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1;ASAN_OPTIONS=detect_leaks=0")
