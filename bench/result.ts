/** The result of a scenario: a table, and the comparison with wshub. */
export interface Result {
  scenario: string
  title: string
  /** The measured quantity, with its unit. */
  figure: string
  columns: readonly Column[]
  rows: Row[]
  /** Whether a row that misses its target makes the run fail, because it is not about speed. */
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
  /** The comparison of wshub with this row, or with a limit. */
  comparison?: Comparison
  /** The reason why there are no figures. */
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
