/* ARM MPS2 with image AN386 (Cortex-M4), as far as the firmware uses it: CMSDK UARTs, timer and watchdog. */
#ifndef EDGEARM_FIRMWARE_BOARD_H
#define EDGEARM_FIRMWARE_BOARD_H

#include <stddef.h>
#include <stdint.h>

enum { BOARD_HZ = 25000000 };

/* CMSDK APB UART; all are written and read by the bits below. */
typedef struct {
    volatile uint32_t data;
    volatile uint32_t state;
    volatile uint32_t control;
    volatile uint32_t interrupt; /* status; writing a one clears */
    volatile uint32_t divider;
} board_uart;

enum { UART_TX_FULL = 1, UART_RX_FULL = 2 };                                     /* state */
enum { UART_TX = 1, UART_RX = 2, UART_TX_INTERRUPT = 4, UART_RX_INTERRUPT = 8 }; /* control */

typedef struct {
    volatile uint32_t control;
    volatile uint32_t value; /* counts down */
    volatile uint32_t reload;
    volatile uint32_t interrupt;
} board_timer;

enum { TIMER_ENABLE = 1 };

typedef struct {
    volatile uint32_t load;
    volatile uint32_t value;
    volatile uint32_t control;
    volatile uint32_t clear;
    uint32_t unused[764];
    volatile uint32_t lock;
} board_watchdog;

enum { WATCHDOG_INTERRUPT = 1, WATCHDOG_RESET = 2 };
#define WATCHDOG_UNLOCK 0x1ACCE551u

#define UPWARD_UART ((board_uart *)0x40004000u)
#define BUS_UART ((board_uart *)0x40005000u)
#define BENCH_UART ((board_uart *)0x40006000u)
#define TIMER ((board_timer *)0x40000000u)
#define WATCHDOG ((board_watchdog *)0x40008000u)
#define INTERRUPT_ENABLE ((volatile uint32_t *)0xE000E100u)

/* Interrupts: receive and transmit of each UART. */
enum { UPWARD_RX = 0, UPWARD_TX = 1, BUS_RX = 2, BUS_TX = 3, BENCH_RX = 4 };

/* In RAM that no start clears: the watchdog's first warning leaves its mark there. */
extern volatile uint32_t board_mark;
#define BOARD_WATCHDOG_BARKED 0x57444F47u

/* start.c */
void board_start(void);
void board_bark(void);
/* hal.c */
int main(void);
void board_upward_receive(void);
void board_upward_transmit(void);
void board_bus_receive(void);
void board_bus_transmit(void);
void board_bench_receive(void);

#endif
