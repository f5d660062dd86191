// Node's http or http2 server: node -e FILE -- http|http2 HOST PORT COUNT_SOCKET
'use strict';
const net = require('net');
const [kind, host, port, countSocket] = process.argv.slice(1);
let requests = 0;

// n writes of one byte: some in one turn of the loop, the rest each in its own.
function ones(response, n) {
  const together = n >> 1;
  for (let i = 0; i < together; i++) response.write('x');
  let left = n - together;
  const more = () => (left-- > 0 ? (response.write('x'), setImmediate(more)) : response.end());
  more();
}

function answer(request, response) {
  requests++;
  const url = new URL(request.url, 'http://test');
  const n = Number(url.searchParams.get('n') ?? 1);
  const ms = Number(url.searchParams.get('ms') ?? 0);
  request.resume();
  request.on('end', () => {
    switch (url.pathname) {
      case '/ones':
        return ones(response, n);
      case '/trailers':
        if (kind === 'http') response.writeHead(200, { Trailer: 'X-Sum' });
        response.write('body');
        response.addTrailers({ 'X-Sum': '1' });
        return response.end();
      case '/hints':
        for (let i = 0; i < n; i++) response.writeEarlyHints({ link: '</a.css>; rel=preload; as=style' });
        return setTimeout(() => response.end('hinted'), ms);
      default:
        return response.end('node\n');
    }
  });
}

const server = require(kind).createServer(answer);
// A client that has sent all it has to send still wants its answer.
server.httpAllowHalfOpen = true;
server.listen(Number(port), host);
net.createServer((socket) => socket.end(String(requests))).listen(countSocket);
