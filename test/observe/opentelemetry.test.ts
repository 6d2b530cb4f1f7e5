import { once } from 'node:events'
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import {
  context,
  type Meter,
  propagation,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { DataPointType, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { Hub, instruments, memoryHistory } from 'wshub'
import { hubMetrics, tracedCallbacks, traceUpgrades } from 'wshub/opentelemetry'
import { Http2Client } from '../support/http2-client.ts'
import { eventually, handshake, inTime, Journal, RawClient, serve, thrownBy } from '../support/hub-server.ts'

class Reader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}

function metering() {
  const reader = new Reader()
  const provider = new MeterProvider({ readers: [reader] })
  onTestFinished(() => provider.shutdown())
  const collect = async () => {
    const { resourceMetrics, errors } = await reader.collect()
    expect(errors).toEqual([])
    return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
  }
  return { meter: provider.getMeter('test'), collect }
}

function tracing() {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  onTestFinished(() => provider.shutdown())
  return { tracer: provider.getTracer('test'), spans: () => exporter.getFinishedSpans() }
}

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
})

afterAll(() => {
  context.disable()
})

describe('hubMetrics of OpenTelemetry', () => {
  it('collects all instruments, with attributes, until the hub is closed', async () => {
    const { meter, collect } = metering()
    const { hub, connect } = await serve({
      history: { store: memoryHistory(), rooms: () => ({}) },
      presence: { rooms: () => 'members', user: () => 'ann' },
    })
    hubMetrics(hub, { meter, attributes: { hub: 'chat' } })
    const { client, connection } = await connect()
    hub.broadcast('hello')
    connection.sendPing()
    await client.close()
    await connect()
    await eventually(
      'the pong and the close',
      () => hub.stats().closedConnections === 1,
      () => hub.stats(),
    )
    const collected = await collect()
    const found = (name: string) => collected.find(({ descriptor }) => descriptor.name === name)
    const values = instruments.filter(({ histogram }) => histogram === undefined)
    for (const { name, unit, description } of values) {
      expect(found(name)?.descriptor).toMatchObject({ unit, description })
    }
    expect(found('wshub.upgrades')).toMatchObject({
      dataPointType: DataPointType.SUM,
      isMonotonic: true,
      dataPoints: expect.arrayContaining([
        expect.objectContaining({ attributes: { hub: 'chat', 'wshub.outcome': 'accepted' }, value: 2 }),
      ]),
    })
    expect(found('wshub.connections')).toMatchObject({ dataPointType: DataPointType.SUM, isMonotonic: false })
    expect(found('wshub.buffer.utilization')?.dataPointType).toBe(DataPointType.GAUGE)
    const durations = instruments.find(({ name }) => name === 'wshub.connection.duration')
    expect(found('wshub.connection.duration')).toMatchObject({
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints: [
        { attributes: { hub: 'chat' }, value: { count: 1, buckets: { boundaries: durations?.bounds } } },
      ],
    })
    expect(found('wshub.broadcast.recipients')).toMatchObject({
      dataPoints: [{ value: { count: 1, sum: 1 } }],
    })
    await hub.close()
    // An SDK that adds up repeats the last values; the hub is not asked any more.
    hub.stats = () => {
      throw new Error('read after the close')
    }
    await collect()
  })
})

describe('traceUpgrades', () => {
  it('makes a span that ends with the 101, or with the refusal', async () => {
    const { tracer, spans } = tracing()
    const { hub, connect, port } = await serve()
    traceUpgrades(hub, { tracer })
    const { connection } = await connect()
    const refused = new RawClient(port)
    refused.socket.write(handshake(['Origin: https://evil.example'], 'GET /chat?token=secret HTTP/1.1'))
    await refused.hungUp()
    const shown = spans().map(({ name, kind, attributes, status }) => ({ name, kind, attributes, status }))
    const common = {
      'http.request.method': 'GET',
      'network.protocol.name': 'http',
      'network.protocol.version': '1.1',
    }
    const span = { name: 'websocket upgrade', kind: SpanKind.SERVER, status: { code: SpanStatusCode.UNSET } }
    expect(shown).toEqual([
      {
        ...span,
        attributes: {
          ...common,
          'url.path': '/',
          'http.response.status_code': 101,
          'wshub.connection.id': connection.id,
        },
      },
      {
        ...span,
        attributes: {
          ...common,
          'url.path': '/chat',
          'http.response.status_code': 403,
          'error.type': 'WSHUB_ERR_ORIGIN',
        },
      },
    ])
    for (const { ended, duration } of spans()) {
      expect(ended).toBe(true)
      expect(duration[0] * 1_000 + duration[1] / 1e6).toBeLessThan(60_000)
    }
    await hub.close()
  })

  it('says of an upgrade over HTTP/2 that it was answered with 200', async () => {
    const { tracer, spans } = tracing()
    const hub = new Hub()
    traceUpgrades(hub, { tracer })
    const server = createServer((req) => void hub.upgrade(req, {}))
    hub.attach(server)
    server.listen(0, '127.0.0.1')
    await inTime('the server to listen', once(server, 'listening'), () => server.address())
    const { port } = server.address() as AddressInfo // the server listens on TCP
    const client = await Http2Client.connect({ port })
    onTestFinished(async () => {
      client.destroy()
      await hub.close({ timeoutMs: 50 })
      server.close()
    })
    await client.open()
    expect(spans().map(({ attributes }) => attributes)).toEqual([
      expect.objectContaining({ 'http.response.status_code': 200, 'network.protocol.version': '2' }),
    ])
  })

  it('makes it below the span of the route, or of the headers', async () => {
    const { tracer, spans } = tracing()
    propagation.setGlobalPropagator({
      inject: () => {},
      fields: () => [],
      extract: (of, carrier) => {
        const [, traceId = '', spanId = ''] = String(carrier.traceparent).split('-')
        return trace.setSpanContext(of, { traceId, spanId, traceFlags: 1, isRemote: true })
      },
    })
    onTestFinished(() => propagation.disable())
    const { hub, connectRaw } = await serve()
    traceUpgrades(hub, { tracer })
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    await connectRaw([`traceparent: 00-${traceId}-b7ad6b7169203331-01`])
    expect(spans().map((span) => span.spanContext().traceId)).toEqual([traceId])
    expect(spans()[0]?.parentSpanContext?.spanId).toBe('b7ad6b7169203331')
  })
})

describe('A tracer or a meter that throws', () => {
  it('does not disturb the hub, and is told once by each', async () => {
    const warnings = new Journal<Error>()
    const hear = (warning: Error) => warnings.push(warning)
    process.on('warning', hear)
    onTestFinished(() => {
      process.off('warning', hear)
    })
    const fail = () => {
      throw new Error('the exporter is away')
    }
    const { hub, connect } = await serve()
    const instrument = { record: fail, add: fail, addCallback: fail, removeCallback: fail }
    const make = () => instrument
    const meter = {
      createHistogram: make,
      createObservableCounter: make,
      createObservableGauge: make,
      createObservableUpDownCounter: make,
      addBatchObservableCallback: () => {},
      removeBatchObservableCallback: fail,
    } as unknown as Meter // what hubMetrics uses of it
    hubMetrics(hub, { meter })
    traceUpgrades(hub, { tracer: { startSpan: fail } as unknown as Tracer })
    for (let nth = 0; nth < 3; nth++) {
      const { client } = await connect()
      await client.close()
    }
    await hub.close()
    await warnings.until('both warnings', (all) => all.length === 2)
    expect(warnings.all.map(({ message }) => message).sort()).toEqual([
      'hubMetrics has failed: Error: the exporter is away',
      'traceUpgrades has failed: Error: the exporter is away',
    ])
  })
})

describe('tracedCallbacks', () => {
  it('makes a span of each onMessage, with a link to that of the upgrade, and its spans below', async () => {
    const { tracer, spans } = tracing()
    const active: (string | undefined)[] = []
    const { hub, connect, log } = await serve(
      { callbackContext: tracedCallbacks({ tracer }) },
      {
        onOpen: () => active.push(trace.getActiveSpan()?.spanContext().spanId),
        onMessage: async (connection, { data }) => {
          await undefined
          tracer.startSpan('a query').end()
          if (data === 'fail') throw new Error('no')
          connection.sendText('done')
        },
      },
    )
    traceUpgrades(hub, { tracer })
    const { client } = await connect()
    client.socket.send('one')
    await client.received.first('the answer', (data) => data === 'done')
    client.socket.send('fail')
    await client.closed()
    await log.first('the close', (entry) => entry.startsWith('close'))
    const [upgrade, firstQuery, first, secondQuery, second, ...others] = spans()
    expect(others).toEqual([])
    expect(upgrade?.name).toBe('websocket upgrade')
    expect(active).toEqual([undefined])
    for (const [query, message] of [
      [firstQuery, first],
      [secondQuery, second],
    ]) {
      expect(message?.name).toBe('process websocket message')
      expect(message?.kind).toBe(SpanKind.CONSUMER)
      expect(message?.parentSpanContext).toBeUndefined()
      expect(message?.links.map((link) => link.context.spanId)).toEqual([upgrade?.spanContext().spanId])
      expect(query?.parentSpanContext?.spanId).toBe(message?.spanContext().spanId)
    }
    expect(first?.status.code).toBe(SpanStatusCode.UNSET)
    expect(second?.status.code).toBe(SpanStatusCode.ERROR)
    expect(second?.events.map(({ name }) => name)).toEqual(['exception'])
  })

  it('links to the span of the route when upgrades are not traced', async () => {
    const { tracer, spans } = tracing()
    const route = tracer.startSpan('GET /')
    const traced = tracedCallbacks({ tracer })
    const { connect } = await serve(
      {
        callbackContext: (request) =>
          context.with(trace.setSpan(context.active(), route), () => traced(request)),
      },
      { onMessage: (connection) => connection.sendText('done') },
    )
    const { client } = await connect()
    client.socket.send('one')
    await client.received.first('the answer', (data) => data === 'done')
    const [message] = spans()
    expect(message?.links.map((link) => link.context.spanId)).toEqual([route.spanContext().spanId])
    route.end()
  })

  it('refuses wrong arguments', async () => {
    const { hub } = await serve()
    for (const call of [
      () => hubMetrics(hub, { metre: 1 } as object),
      () => traceUpgrades(hub, { trace: 1 } as object),
      () => tracedCallbacks({ spans: true } as object),
      () => hubMetrics(hub, { meter: {} } as object),
      () => hubMetrics(undefined as unknown as typeof hub),
      () => traceUpgrades(hub, { tracer: 5 } as object),
      () => traceUpgrades(hub, null as unknown as object),
      () => tracedCallbacks({ tracer: 5 } as object),
    ]) {
      expect(thrownBy(call)).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
    }
  })
})
