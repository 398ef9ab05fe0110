#include "modes.h"
void run_fuzz(void) {}
