/* Vector table and start: sections into RAM, then main. No constructor, no heap, no C library start-up. */
#include "board.h"

extern uint32_t board_stack_top, board_data_from, board_data_begin, board_data_end, board_bss_begin, board_bss_end;

/* A fault: the watchdog ends it. */
static void stuck(void)
{
    for (;;) {
    }
}

/* The watchdog's first time-out, an interrupt that cannot be masked; the second one restarts the machine. */
void board_bark(void)
{
    board_mark = BOARD_WATCHDOG_BARKED;
    stuck();
}

void board_start(void)
{
    const uint32_t *from = &board_data_from;
    for (uint32_t *to = &board_data_begin; to < &board_data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &board_bss_begin; to < &board_bss_end;) {
        *to++ = 0;
    }
    main();
    stuck();
}

typedef void (*board_handler)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    board_handler exceptions[15];
    board_handler interrupts[5];
} vectors = {&board_stack_top,
             {board_start, board_bark, stuck, stuck, stuck, stuck, stuck, stuck, stuck, stuck, stuck, stuck, stuck,
              stuck, stuck},
             {board_upward_receive, board_upward_transmit, board_bus_receive, board_bus_transmit, board_bench_receive}};
