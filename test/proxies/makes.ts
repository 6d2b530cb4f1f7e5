import { execFile as execFileWithCallback } from 'node:child_process'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import { accepts } from '../support/daemon.ts'
import { toolPath } from '../support/tools.ts'
import { adapt, documented, type Make, SITE, type Site } from './support.ts'

const execFile = promisify(execFileWithCallback)
const { stringify: quote } = JSON

export const nginx: Make = {
  name: 'nginx',
  statusWithoutApp: 502,
  configuration(site, { app, idle = '75s', linger = '1h' }) {
    const [server = '', main = ''] = documented('nginx')
    const adapted = adapt(server, {
      'listen 443 ssl': `listen 127.0.0.1:${site.port} ssl`,
      [`/etc/ssl/${SITE}.pem`]: site.certificate,
      [`/etc/ssl/${SITE}.key`]: site.key,
      '127.0.0.1:8080': `127.0.0.1:${app}`,
      'proxy_read_timeout 75s': `proxy_read_timeout ${idle}`,
    })
    // The parts of Debian's nginx.conf around a site, and our own paths for all files it would write.
    const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    return [
      adapt(main, { 'worker_shutdown_timeout 1h': `worker_shutdown_timeout ${linger}` }),
      `daemon off; worker_processes 1; pid ${quote(site.file('pid'))};`,
      'events {}',
      'http {',
      'access_log off;',
      ...folders.map((name) => `${name}_temp_path ${quote(site.file(name))};`),
      adapted,
      '}',
    ].join('\n')
  },
  command({ folder, configuration }) {
    return { file: toolPath('nginx'), args: ['-p', folder, '-c', configuration, '-e', 'stderr'] }
  },
  isReady: ({ port }) => accepts(port),
  async reload(_site, daemon) {
    daemon.signal('SIGHUP')
  },
}

export const haproxy: Make = {
  name: 'HAProxy',
  statusWithoutApp: 503,
  configuration(site, { app, idle = '75s', linger = '1h' }) {
    const [text = ''] = documented('haproxy')
    return adapt(text, {
      'bind :443': `bind 127.0.0.1:${site.port}`,
      [`/etc/ssl/${SITE}.pem`]: site.pem,
      '127.0.0.1:8080': `127.0.0.1:${app}`,
      'timeout tunnel 75s': `timeout tunnel ${idle}`,
      'hard-stop-after 1h': `hard-stop-after ${linger}`,
    })
  },
  command(site) {
    return {
      file: toolPath('haproxy'),
      args: ['-W', '-S', site.file('master'), '-f', site.configuration],
    }
  },
  async isReady(site) {
    // The worker serves before the master, which executes itself again at its start, can receive a reload.
    return (await accepts(site.port)) && (await tellMaster(site, 'show version')) !== ''
  },
  reload(site) {
    return tellMaster(site, 'reload')
  },
}

/** Returns the answer of HAProxy's master to a command; empty if it closes the connection instead. */
async function tellMaster(site: Site, command: string): Promise<string> {
  const socket = connect(site.file('master')).setEncoding('utf8')
  let answer = ''
  socket.on('data', (text: string) => {
    answer += text
  })
  socket.on('error', () => {}) // 'close' follows
  socket.end(`${command}\n`)
  await new Promise((resolve) => socket.on('close', resolve))
  return answer
}

export const caddy: Make = {
  name: 'Caddy',
  statusWithoutApp: 502,
  configuration(site, { app }) {
    const [text = ''] = documented('caddyfile')
    const adapted = adapt(text, {
      // A certificate of our own, since nobody issues one for example.com.
      [`${SITE} {`]: `https://${SITE}:${site.port} {\n\tbind 127.0.0.1\n\ttls ${site.certificate} ${site.key}`,
      '127.0.0.1:8080': `127.0.0.1:${app}`,
    })
    return `{\n\tadmin unix/${site.file('admin')}\n\tauto_https disable_redirects\n}\n${adapted}`
  },
  command({ folder, configuration }) {
    return {
      file: toolPath('caddy'),
      args: ['run', '--adapter', 'caddyfile', '--config', configuration],
      env: { XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder },
    }
  },
  isReady: ({ port }) => accepts(port),
  reload(site) {
    const address = ['--address', `unix/${site.file('admin')}`]
    return execFile(toolPath('caddy'), [
      'reload',
      ...address,
      '--adapter',
      'caddyfile',
      '--config',
      site.configuration,
    ])
  },
}
