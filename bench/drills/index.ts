// npm run drill -- [drill...] [--picture]
//
// Causes a fault on purpose, reads the metrics meanwhile, has a real Prometheus evaluate the alert rules of
// docs/grafana over them, and prints what an operator would see. Without names all drills run. It fails
// unless the alarms that show the fault go off, no other does, none before the fault, and all end with the
// repair or later. With --picture it draws docs/drills/<drill>.svg from the panels of the dashboard, and
// takes docs/drills/<drill>.png of the inspector where that helps. docs/operating.md has the drills and
// their pictures.

import { mkdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { alarmsOf } from './alarms.ts'
import { type Report, runDrill } from './drill.ts'
import { DRILLS } from './drills.ts'
import { draw } from './picture.ts'
import { PrometheusServer } from './prometheus-server.ts'
import { describe, faultsOf } from './report.ts'
import { screenshotsOf } from './screenshots.ts'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { picture: { type: 'boolean' } },
})
const names = positionals.length > 0 ? positionals : Object.keys(DRILLS)
const reports: Report[] = []
for (const name of names) {
  const drill = DRILLS[name]
  if (drill === undefined) {
    console.error(`unknown: ${name}; the drills are ${Object.keys(DRILLS).join(', ')}`)
    process.exit(2)
  }
  reports.push(await runDrill(name, drill, flags.picture === true ? screenshotsOf(name) : undefined))
}

const prometheus = await PrometheusServer.of(reports.map(({ recording }) => recording))
try {
  for (const report of reports) {
    const alarms = await alarmsOf(report.recording, prometheus)
    console.log(describe(report, alarms))
    if (faultsOf(report, alarms).length > 0) process.exitCode = 1
    if (flags.picture === true) {
      const folder = new URL('../../docs/drills/', import.meta.url)
      mkdirSync(folder, { recursive: true })
      writeFileSync(new URL(`${report.name}.svg`, folder), await draw(report, alarms, prometheus))
    }
  }
} finally {
  await prometheus.close()
}
process.exit() // a client that reconnects would keep it going
