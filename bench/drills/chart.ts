import type { Mark } from './recording.ts'

/** A line of a panel, with a value for each reading. */
export interface Line {
  readonly name: string
  readonly values: readonly (number | undefined)[]
}

export interface Chart {
  readonly title: string
  readonly stepSeconds: number
  /** The number of readings. */
  readonly length: number
  readonly fault: Mark | undefined
  readonly repair: Mark | undefined
  readonly panels: readonly {
    readonly title: string
    readonly unit: string
    readonly lines: readonly Line[]
  }[]
  readonly alarms: readonly { readonly name: string; readonly indexes: readonly number[] }[]
}

const WIDTH = 760
const LEFT = 64
const RIGHT = 16
const PLOT_HEIGHT = 110
const ALARM_HEIGHT = 18
/** Most lines of a panel; those with the lowest peaks are left out. */
const MAX_LINES = 6
// Mid tones, legible on white and on black.
const TEXT = '#808890'
const ALARM = '#d9534f'
const COLORS = ['#3b82c4', '#2f9e6e', '#c27c2c', '#9a6fc4', '#c4577f', '#5f9ea0']

/** Returns an SVG: the panels below each other, the time of the fault shaded, and when alarms were on. */
export function drawChart(chart: Chart): string {
  const parts: string[] = []
  let y = 24
  parts.push(text(16, y, chart.title, 14), text(WIDTH - RIGHT, y, spanOf(chart), 11, 'end'))
  y += 22
  const top = y
  for (const panel of chart.panels) {
    const lines = highest(panel.lines)
    parts.push(...drawPanel(chart, panel.title, panel.unit, lines, y))
    y += PLOT_HEIGHT + 62
  }
  for (const { name, indexes } of chart.alarms) {
    parts.push(...drawAlarm(chart, name, indexes, y))
    y += ALARM_HEIGHT + 18
  }
  parts.push(...drawMarks(chart, y))
  const height = y + 24
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="11" role="img">`,
    `<title>${escaped(chart.title)}</title>`,
    ...drawFault(chart, top, y),
    ...parts,
    '</svg>\n',
  ].join('\n')
}

function drawPanel(chart: Chart, title: string, unit: string, lines: readonly Line[], y: number): string[] {
  const peak = Math.max(...lines.map(peakOf), 0)
  const max = roundUp(peak)
  const bottom = y + 10 + PLOT_HEIGHT
  const at = (value: number) => bottom - (value / max) * PLOT_HEIGHT
  const grid = [0, max / 2, max].flatMap((value) => [
    `<path d="M${LEFT} ${round(at(value))}H${WIDTH - RIGHT}" stroke="${TEXT}" stroke-opacity=".25"/>`,
    text(LEFT - 6, at(value) + 4, valueText(value, unit), 10, 'end'),
  ])
  let x = LEFT
  const legend = lines.flatMap(({ name }, index) => {
    const own = [
      `<rect x="${round(x)}" y="${bottom + 12}" width="10" height="3" fill="${COLORS[index]}"/>`,
      text(x + 14, bottom + 17, name, 10),
    ]
    x += 30 + name.length * 5.6
    return own
  })
  const paths = lines.map(({ values }, index) => {
    const d = pathOf(values, (reading) => xOf(chart, reading), at)
    return `<path d="${d}" fill="none" stroke="${COLORS[index]}" stroke-width="1.5"/>`
  })
  return [text(LEFT, y, title, 12), ...grid, ...paths.reverse(), ...legend]
}

/** Returns the path of a line, which has gaps where there are no values. */
function pathOf(
  values: readonly (number | undefined)[],
  x: (index: number) => number,
  y: (value: number) => number,
): string {
  let isDrawing = false
  return values
    .map((value, index) => {
      const isPart = isDrawing && value !== undefined && !Number.isNaN(value)
      isDrawing = value !== undefined && !Number.isNaN(value)
      return isDrawing && value !== undefined
        ? `${isPart ? 'L' : 'M'}${round(x(index))} ${round(y(value))}`
        : ''
    })
    .join('')
}

function drawAlarm(chart: Chart, name: string, indexes: readonly number[], y: number): string[] {
  const width = xOf(chart, 1) - xOf(chart, 0)
  const [first, last] = [Math.min(...indexes), Math.max(...indexes)]
  const bar =
    indexes.length === 0
      ? []
      : [
          `<rect x="${round(xOf(chart, first))}" y="${y + 6}" width="${round((last - first + 1) * width)}" height="8" rx="2" fill="${ALARM}"/>`,
        ]
  return [text(LEFT, y, name, 10), ...bar]
}

function drawFault(chart: Chart, top: number, bottom: number): string[] {
  const { fault, repair, length } = chart
  if (fault === undefined) return []
  const [from, to] = [xOf(chart, fault.index), xOf(chart, repair?.index ?? length - 1)]
  const end = repair === undefined ? [] : [`<path d="M${round(to)} ${top}V${bottom}" stroke="${TEXT}"/>`]
  return [
    `<rect x="${round(from)}" y="${top}" width="${round(to - from)}" height="${bottom - top}" fill="${ALARM}" fill-opacity=".07"/>`,
    `<path d="M${round(from)} ${top}V${bottom}" stroke="${TEXT}"/>`,
    ...end,
  ]
}

function drawMarks({ fault, repair, ...chart }: Chart, y: number): string[] {
  const middle = chart.length / 2
  return [fault, repair].flatMap((mark, order) => {
    if (mark === undefined) return []
    // Both stand beside their lines, outside of the fault where it is short.
    const isBefore =
      order === 0 ? mark.index > middle || isShort(chart.length, mark, repair) : mark.index > 1.5 * middle
    return [
      text(xOf(chart, mark.index) + (isBefore ? -4 : 4), y + 12, mark.text, 10, isBefore ? 'end' : 'start'),
    ]
  })
}

function isShort(length: number, fault: Mark, repair: Mark | undefined): boolean {
  return repair !== undefined && repair.index - fault.index < length / 4
}

/** Returns how long a chart is. */
function spanOf({ length, stepSeconds }: Chart): string {
  const minutes = Math.round((length * stepSeconds) / 60)
  return minutes >= 600 ? `${Math.round(minutes / 60)} hours` : `${minutes} minutes`
}

function xOf({ length }: Pick<Chart, 'length'>, index: number): number {
  return LEFT + (index / Math.max(1, length - 1)) * (WIDTH - LEFT - RIGHT)
}

/** Returns the highest value; a quantile of nothing is not a number. */
function peakOf({ values }: Line): number {
  return Math.max(0, ...values.map((value) => value || 0))
}

function highest(lines: readonly Line[]): Line[] {
  const shown = lines.filter((line) => peakOf(line) > 0)
  return shown.sort((one, other) => peakOf(other) - peakOf(one)).slice(0, MAX_LINES)
}

/** Returns a round number that is at least the value. */
function roundUp(value: number): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 1.5, 2, 3, 5, 8, 10].map((step) => step * power).find((step) => step >= value) ?? 10 * power
}

function valueText(value: number, unit: string): string {
  if (unit === 'percentunit') return `${round(value * 100)} %`
  const scaled = [1e9, 1e6, 1e3].find((scale) => value >= scale)
  const number = `${round(scaled === undefined ? value : value / scaled)}`
  const prefix = scaled === undefined ? '' : ({ 1e9: 'G', 1e6: 'M', 1e3: 'k' } as const)[scaled as 1e9]
  const suffix = { s: ' s', bytes: 'B', Bps: 'B/s', ops: '/s' }[unit] ?? ''
  return `${number}${prefix === '' && suffix.startsWith('B') ? ' ' : ''}${prefix}${suffix}`
}

function text(x: number, y: number, content: string, size: number, anchor = 'start'): string {
  return `<text x="${round(x)}" y="${round(y)}" font-size="${size}" text-anchor="${anchor}" fill="${TEXT}">${escaped(content)}</text>`
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

function round(value: number): number {
  return Number(value.toFixed(value < 1 ? 3 : 1))
}
