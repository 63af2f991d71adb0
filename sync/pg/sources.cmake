set(pg_sql ${PROJECT_SOURCE_DIR}/deploy/sql/forebay.sql)
set(pg_sql_c ${PROJECT_BINARY_DIR}/sync/forebay_sql.c)
add_custom_command(OUTPUT ${pg_sql_c}
  COMMAND ${CMAKE_COMMAND} -DIN=${pg_sql} -DOUT=${pg_sql_c} -DNAME=pg_forebay_sql
    -P ${CMAKE_CURRENT_LIST_DIR}/embed.cmake
  DEPENDS ${pg_sql} ${CMAKE_CURRENT_LIST_DIR}/embed.cmake VERBATIM)
fb_add_library(sync_pg
  SOURCES pg/adopt.c pg/apply.c pg/apply_object.c pg/apply_order.c pg/apply_row.c
    pg/apply_row_result.c pg/apply_settle.c pg/args.c pg/check.c pg/classify.c pg/conflict_log.c pg/connect.c pg/dead_letter.c pg/error.c pg/exec.c pg/load.c pg/object.c
    pg/row.c pg/schema.c pg/setup.c pg/sql.c pg/standby.c pg/sweep.c ${pg_sql_c}
  LIBS fb_wire fb_cluster PkgConfig::LIBPQ PkgConfig::JANSSON)
