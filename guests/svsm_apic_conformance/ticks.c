#include "modes.h"
void run_ticks(void) {}
