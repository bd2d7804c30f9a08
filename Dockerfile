# The engine with the private Redis's program, without compiler and sources. Data is in /data:
#   docker build -t shuiwei . && docker run -p 127.0.0.1:8618:8618 -v shuiwei:/data -e SHUIWEI_TOKENS=... shuiwei
FROM node:24-slim AS build
WORKDIR /src
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
RUN npm ci --no-audit --no-fund
COPY engine ./engine
COPY connectors ./connectors
COPY dashboards ./dashboards
COPY bench ./bench
RUN node engine/boot/build.mjs && npm prune --omit=dev --no-audit --no-fund

FROM node:24-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends redis-server redis-tools \
  && rm -rf /var/lib/apt/lists/* \
  && install -d -o node -g node -m 0700 /data
WORKDIR /app
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
COPY --from=build /src/engine/boot/setup.mjs /src/engine/boot/shuiwei.mjs ./engine/boot/
ENV NODE_ENV=production SHUIWEI_HOST=0.0.0.0
USER node
# The private Redis keeps its data in .shuiwei of the working directory.
WORKDIR /data
VOLUME /data
EXPOSE 8618
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8618/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/engine/boot/shuiwei.mjs"]
CMD ["serve"]
