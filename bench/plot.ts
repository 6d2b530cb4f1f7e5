import { formatValue, type Machine } from './report.ts'
import { isWithinTarget, type Result } from './result.ts'

interface Bar {
  label: string
  text: string
  /** The share of the target that is used: 1 just reaches it, less is better. */
  share: number
  color: string
}

const WIDTH = 980
const LABEL_WIDTH = 420
const BAR_WIDTH = 380
const LINE_HEIGHT = 18
const BAR_HEIGHT = 10
const TOP = 74
/** Longer bars are cut off here. */
const MAX_SHARE = 1.25
// Mid tones, legible on white and on black.
const TEXT = '#808890'
const GOOD = '#2f9e6e'
const BAD = '#d9534f'
const GUIDE = '#b0893c'

/**
 * An SVG of every comparison that has a target, as a share of the target, legible on light and dark
 * backgrounds.
 */
export function plot(results: readonly Result[], machine: Machine): string {
  const bars = results.flatMap(barsOf)
  const height = TOP + bars.length * LINE_HEIGHT + 12
  const targetX = LABEL_WIDTH + BAR_WIDTH / MAX_SHARE
  const lines = bars.map((bar, index) => {
    const y = TOP + index * LINE_HEIGHT
    const width = Math.max(1, (Math.min(bar.share, MAX_SHARE) / MAX_SHARE) * BAR_WIDTH)
    return (
      text(LABEL_WIDTH - 8, y, bar.label, 'end') +
      `<rect x="${LABEL_WIDTH}" y="${y - BAR_HEIGHT + 1}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" rx="2" fill="${bar.color}"/>` +
      text(LABEL_WIDTH + BAR_WIDTH + 8, y, bar.text, 'start')
    )
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12" role="img">`,
    '<title>wshub beside its alternatives: how much of each target it uses</title>',
    `<text x="16" y="24" font-size="15" font-weight="600" fill="${TEXT}">wshub beside its alternatives: server cost as a share of the target (less is better)</text>`,
    text(
      16,
      44,
      `Node ${machine.node} · ws ${machine.ws} · ${machine.cpu}, ${machine.cores} cores · ${machine.date}`,
      'start',
    ),
    text(targetX, TOP - 14, 'target', 'middle'),
    `<line x1="${targetX}" x2="${targetX}" y1="${TOP - 10}" y2="${height - 8}" stroke="${GUIDE}" stroke-dasharray="3 3"/>`,
    ...lines,
    '</svg>\n',
  ].join('\n')
}

function barsOf(result: Result): Bar[] {
  return result.rows.flatMap(({ name, comparison }) => {
    if (!comparison?.atMost) return [] // nothing is a share of a target of 0
    return [
      {
        label: name === 'wshub' ? result.scenario : `${result.scenario} · ${name}`,
        text: `${formatValue(comparison)}, target ${comparison.atMost}`,
        share: Math.max(0, comparison.value / comparison.atMost),
        color: isWithinTarget(comparison) ? GOOD : BAD,
      },
    ]
  })
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${TEXT}">${escaped}</text>`
}
