import { describe, expect, it } from 'vitest'
import { alarmsOf } from '../../bench/drills/alarms.ts'
import { type Report, runDrill } from '../../bench/drills/drill.ts'
import { DRILLS } from '../../bench/drills/drills.ts'
import { PrometheusServer } from '../../bench/drills/prometheus-server.ts'
import { describe as describeDrill, faultsOf } from '../../bench/drills/report.ts'

/** The drills that take less than a second. `npm run drill` runs all of them. */
const SHORT = ['reconnect-storm', 'deploy', 'rooms-leak']

describe('The drills', () => {
  it('make those alarms go off that show the fault, and no other', async () => {
    const reports: Report[] = []
    for (const name of SHORT) {
      const drill = DRILLS[name]
      if (drill !== undefined) reports.push(await runDrill(name, drill))
    }
    const prometheus = await PrometheusServer.of(reports.map(({ recording }) => recording))
    try {
      for (const report of reports) {
        const alarms = await alarmsOf(report.recording, prometheus)
        expect(faultsOf(report, alarms), describeDrill(report, alarms)).toEqual([])
        expect(alarms.map(({ rule }) => rule.alert)).toContain(report.drill.alarms[0])
      }
    } finally {
      await prometheus.close()
    }
    expect(reports.length).toBe(SHORT.length)
  })

  it('fail when an alarm is missing, is too much, comes before the fault, or does not end', async () => {
    const [storm, leak] = [DRILLS['reconnect-storm'], DRILLS['rooms-leak']]
    if (storm === undefined || leak === undefined) throw new Error('two drills are missing')
    const report = await runDrill('reconnect-storm', storm)
    const { length } = report.recording
    const alarm = (alert: string, ...indexes: number[]) => ({
      rule: { alert, expr: '', forSeconds: 0, annotations: {} },
      labels: {},
      indexes,
    })
    expect(faultsOf(report, [])).toEqual(['WshubReconnectStorm did not go off'])
    expect(faultsOf(report, [alarm('WshubReconnectStorm', 20), alarm('WshubRoomsLeak', 20)])).toEqual([
      'WshubRoomsLeak went off as well',
    ])
    expect(faultsOf(report, [alarm('WshubReconnectStorm', 3, 20)])).toEqual([
      'WshubReconnectStorm went off before the fault',
    ])
    expect(faultsOf(report, [alarm('WshubReconnectStorm', length - 1)])).toEqual([
      'WshubReconnectStorm did not end after the repair',
    ])
  })
})
