/* node/main.c, compiled for the simulator under this name. */
#ifndef FB_TESTS_SIM_NODE_MAIN_H_
#define FB_TESTS_SIM_NODE_MAIN_H_

int forebay_node_main(int argc, char **argv);

#endif
