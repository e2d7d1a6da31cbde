/* What a Cortex-M4 needs before newlib's own start: a vector table with the stack and the first instruction. */
#include <stdint.h>

extern uint32_t __stack;
extern void _start(void);

static void stuck(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    &__stack, (void *)_start, (void *)stuck, (void *)stuck, (void *)stuck, (void *)stuck, (void *)stuck,
};
