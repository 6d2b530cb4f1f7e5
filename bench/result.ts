/** What a scenario found: a table, and how wshub compares. */
export interface Result {
  scenario: string
  title: string
  /** What is measured, with its unit. */
  figure: string
  columns: readonly Column[]
  rows: Row[]
  /** Whether a row that falls short makes the run fail: it is no matter of speed. */
  isCheck?: boolean
}

export interface Column {
  label: string
  digits: number
}

export interface Row {
  name: string
  version: string
  /** The figures in the order of the columns; the first is the figure of merit. */
  figures: (number | undefined)[]
  /** How wshub compares with this row, or with a bound. */
  comparison?: Comparison
  /** Why there are no figures. */
  note?: string
}

export interface Comparison {
  value: number
  unit: string
  atMost?: number
}

export function isWithinTarget({ value, atMost }: Comparison): boolean {
  return atMost === undefined || value <= atMost
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}
