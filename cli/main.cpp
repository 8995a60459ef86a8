#include "cli/command.h"

int main(int argc, char** argv) { return pare::run_program(argc, argv); }
