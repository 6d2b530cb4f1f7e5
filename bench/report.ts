import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, cpus } from 'node:os'
import { type Comparison, isWithinTarget, type Result, type Row } from './result.ts'

export interface Machine {
  date: string
  node: string
  ws: string
  cpu: string
  cores: number
  commit: string
}

export function describeMachine(): Machine {
  const ws: { version: string } = createRequire(import.meta.url)('ws/package.json')
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    ws: ws.version,
    cpu: cpuModel(),
    cores: availableParallelism(),
    commit: commit(),
  }
}

/** A table for the terminal. */
export function formatTable(result: Result, machine: Machine): string {
  const head = ['', 'version', ...result.columns.map((column) => column.label), 'wshub is', 'at most', '']
  const body = result.rows.map((row) => [
    row.name,
    row.version,
    ...result.columns.map((column, index) =>
      row.figures.length === 0 ? '' : formatFigure(row.figures[index], column.digits),
    ),
    ...formatComparison(row),
  ])
  const widths = head.map((_, column) =>
    Math.max(...[head, ...body].map((cells) => cells[column]?.length ?? 0)),
  )
  const line = (cells: string[]) =>
    cells
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd()
  return [
    `\n${result.scenario} · ${result.title}`,
    `${result.figure} · Node ${machine.node} · ws ${machine.ws} · ${machine.cpu}, ${machine.cores} cores`,
    '',
    line(head),
    ...body.map(line),
  ].join('\n')
}

/** The comparisons that miss their target, one line each. */
export function shortfalls(result: Result): string[] {
  return result.rows.flatMap((row) =>
    row.comparison && !isWithinTarget(row.comparison)
      ? [`${result.scenario}, ${row.name}: ${formatValue(row.comparison)}, at most ${row.comparison.atMost}`]
      : [],
  )
}

export function formatValue({ value, unit }: Comparison): string {
  return (unit === '×' ? value.toFixed(value < 0.1 ? 3 : 2) : value.toFixed(unit === ' B' ? 0 : 1)) + unit
}

function formatComparison({ comparison, note }: Row): string[] {
  if (note) return [note, '', '']
  if (!comparison) return ['', '', '']
  const target =
    comparison.atMost === undefined ? ['–', ''] : [String(comparison.atMost), verdict(comparison)]
  return [formatValue(comparison), ...target]
}

function verdict(comparison: Comparison): string {
  return isWithinTarget(comparison) ? 'pass' : 'falls short'
}

function formatFigure(figure: number | undefined, digits: number): string {
  if (figure === undefined) return '–'
  return figure.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

function cpuModel(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown'
  try {
    const info = readFileSync('/proc/cpuinfo', 'utf8')
    return model === 'unknown' ? (/model name\s*: (.*)/.exec(info)?.[1] ?? model) : model
  } catch {
    return model
  }
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return ''
  }
}
